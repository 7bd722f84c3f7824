# SPDX-License-Identifier: Apache-2.0
"""The pods of build/deploy/chart: commands, probes, how they stop, and their rights."""

import json
import re

import pytest
import yaml

from budgetforce.building.spec import IMAGE
from budgetforce.launcher.drain import DRAIN_END_S
from budgetforce.launcher.triton_server import FOLLOW_S, ORDERLY_END_S
from deploy.charts import POOL, TLS, TRACED, container_of, one, options_of, pod_of
from s1_client.cli.server.gateway import gateway

pytestmark = pytest.mark.xdist_group("chart")


@pytest.mark.parametrize("use", ["one replica", "production", "TLS", "tenants, tracing"])
def test_the_command_is_that_of_compose(uses, use, root):
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]["triton"]["command"].split()
    options = options_of(uses[use])
    assert options.engine == "tensorrt_llm"
    for name, value in (("engine-dir", options.engine_dir), ("tokenizer", options.tokenizer), ("host", options.host)):
        assert compose[compose.index(f"--{name}") + 1] == str(value)
    given = [compose[at + 1] for at, word in enumerate(compose) if word == "--model-repository"]
    assert given == list(map(str, options.model_repository))
    flags = {word for word in container_of(uses[use])["args"] if word.startswith("--")}
    known = {word.partition("+")[2] or word for word in compose if word.startswith(("--", "${")) and "--" in word}
    known = {match for word in known for match in re.findall(r"--[a-z-]+", word)}
    assert flags <= known | {"--http-port", "--grpc-port", "--metrics-port"}


def test_every_option_of_compose_has_a_value(uses, root):
    """--http-host has none: with TLS nothing but gRPC may leave the pod."""
    command = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]["triton"]["command"]
    used = {word for use in ("TLS", "tenants, tracing") for word in container_of(uses[use])["args"]}
    assert set(re.findall(r"--[a-z][a-z-]+", command)) - used == {"--http-host"}


def test_tenants_and_spans_are_the_launchers_options(uses):
    options = options_of(uses["tenants, tracing"])
    assert (options.max_kv_tokens, options.max_tenant_replies, options.max_tenant_waiting) == (323_712, 16, 100)
    assert (options.trace_url, options.trace_rate) == (TRACED["tracing"]["url"], TRACED["tracing"]["rate"])
    default = options_of(uses["one replica"])
    assert (default.max_kv_tokens, default.max_tenant_replies, default.max_tenant_waiting, default.tenant_secret_file) == (0, 0, 0, None)
    assert default.trace_url is None


@pytest.mark.parametrize("suffix", ["", "-openai"])
def test_the_servers_and_the_gateways_pods_have_the_secret_of_tenants(uses, suffix):
    """Only the gateway may name tenants then."""
    pod, container = pod_of(uses["tenants, tracing"], suffix), container_of(uses["tenants, tracing"], suffix)
    path = container["args"][container["args"].index("--tenant-secret-file") + 1]
    (volume,) = [volume for volume in pod["volumes"] if volume.get("secret", {}).get("secretName") == "tenants"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
    assert path == f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    assert volume["secret"]["items"][0]["key"] == "tenant-secret"


def test_by_default_as_many_replies_run_as_the_engine_decodes(render):
    assert options_of(render()).max_replies == 32
    assert options_of(render(values={"engine": {"maxBatchSize": 128}})).max_replies == 128
    assert options_of(render(values={"engine": {"maxBatchSize": 128}, "server": {"maxReplies": 9}})).max_replies == 9


def test_the_cpu_pod_runs_the_command_of_its_image(uses):
    options = options_of(uses["cpu"])
    assert (options.engine, str(options.cache)) == ("embedded_llm", "/models")
    assert {"name": "models", "mountPath": "/models"} in container_of(uses["cpu"])["volumeMounts"]
    assert "resources" in container_of(uses["cpu"])
    assert "nvidia.com/gpu" not in json.dumps(uses["cpu"])


@pytest.mark.parametrize("use", ["one replica", "cpu", "production", "TLS"])
def test_the_grace_period_holds_every_step_of_the_stop(uses, use):
    """preStop, the announcement, the drain, and the launcher's own end."""
    options, container = options_of(uses[use]), container_of(uses[use])
    prestop_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace_s = pod_of(uses[use])["terminationGracePeriodSeconds"]
    assert prestop_s >= 1
    assert grace_s >= prestop_s + options.lame_duck_s + options.drain_s + DRAIN_END_S + ORDERLY_END_S + FOLLOW_S


def test_the_drain_lasts_as_long_as_the_longest_thought(render):
    assert options_of(render()).drain_s == 445  # 32,000 tokens at 72 a second
    assert options_of(render(values={"stop": {"longestThoughtTokens": 100, "tokensPerSecond": 8}})).drain_s == 13
    longer = render(values={"stop": {"drainS": 600, "gracePeriodS": 700}})
    assert options_of(longer).drain_s == 600
    assert pod_of(longer)["terminationGracePeriodSeconds"] == 700
    assert one(longer, "Deployment")["spec"]["progressDeadlineSeconds"] > 1200 + 700


@pytest.mark.parametrize("use", ["one replica", "cpu", "production"])
def test_probes_and_services_use_the_launchers_ports(uses, use):
    options, container = options_of(uses[use]), container_of(uses[use])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": options.http_port, "grpc": options.grpc_port, "metrics": options.metrics_port, "ready": options.ready_port}
    assert container["startupProbe"]["httpGet"] == container["readinessProbe"]["httpGet"] == {"path": "/", "port": "ready"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": "http"}
    for suffix in ("", "-headless"):
        assert [(port["port"], port["targetPort"]) for port in one(uses[use], "Service", suffix)["spec"]["ports"]] == [
            (ports["grpc"], "grpc")
        ]


def test_other_ports_reach_everything_that_names_one(render):
    values = {"ports": {"http": 9000, "grpc": 9001, "metrics": 9002, "ready": 9003}, "inferencePool": POOL}
    objects = render(["production.yaml"], values)
    options = options_of(objects)
    assert (options.http_port, options.grpc_port, options.metrics_port, options.ready_port) == (9000, 9001, 9002, 9003)
    assert one(objects, "Service")["spec"]["ports"][0]["port"] == 9001
    assert one(objects, "InferencePool")["spec"]["targetPorts"] == [{"number": 9001}]
    assert "127.0.0.1:9000" in json.dumps(render(values={**values, "tls": TLS, "inferencePool": {"create": False}}))


def test_with_tls_the_probes_run_inside_of_the_pod(uses):
    """HTTP, metrics and the readiness endpoint listen on 127.0.0.1 there."""
    container = container_of(uses["TLS"])
    health = ["python3", "-m", "budgetforce.health", "--http", "127.0.0.1:8000", "--metrics", "127.0.0.1:8002"]
    assert container["startupProbe"]["exec"]["command"] == container["readinessProbe"]["exec"]["command"] == health
    assert "127.0.0.1:8000/v2/health/live" in container["livenessProbe"]["exec"]["command"][-1]
    assert not options_of(uses["TLS"]).http_host


@pytest.mark.parametrize("use", ["one replica", "cpu", "production", "TLS"])
def test_no_probe_sends_a_request_to_the_engine(uses, use):
    """A long prefill must not restart a pod: probes read health and metrics, never the inference routes."""
    container = container_of(uses[use])
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert not re.search(r"infer|generate|/models|ask|canary", json.dumps(container[name]))


def test_the_start_may_take_as_long_as_the_launcher_waits(uses):
    for use in ("one replica", "cpu", "production", "TLS"):
        probe = container_of(uses[use])["startupProbe"]
        assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) >= options_of(uses[use]).start_s


def pods(uses):
    """Yield the pods of all uses."""
    for objects in uses.values():
        for item in objects:
            if item["kind"] in ("Deployment", "Job"):
                yield item["spec"]["template"]["spec"]


def test_pods_have_few_rights(uses):
    for pod in pods(uses):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            rights = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == rights


def test_secrets_are_files(uses):
    """No value of a Secret is in an environment, which anybody who may read pods sees in part."""
    for pod in pods(uses):
        for container in pod["containers"]:
            assert not [entry for entry in container.get("env", []) if "valueFrom" in entry]
            assert "envFrom" not in container
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["volumes"]}
        assert all(volume["secret"]["defaultMode"] == 0o440 for volume in pod["volumes"] if "secret" in volume)


def test_paths_of_secrets_exist_in_the_pod(uses):
    for use in ("production", "TLS", "TLS and gateway"):
        for deployment in (item for item in uses[use] if item["kind"] == "Deployment"):
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            paths = {word for word in container["args"] if word.startswith("/run/secrets/")}
            folders = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert paths
            assert {path.rpartition("/")[0] for path in paths} <= folders


def test_shared_memory_suffices_for_the_checks_before_a_start(uses):
    (volume,) = [volume for volume in pod_of(uses["one replica"])["volumes"] if volume["name"] == "shm"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2048Mi"}


def test_every_object_says_to_which_release_it_belongs(render):
    """Two releases share a namespace; labels select the own pods only."""
    for item in render(["production.yaml"], release="other"):
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "other"
        if item["kind"] == "Deployment":
            selector = item["spec"]["selector"]["matchLabels"]
            assert selector.items() <= item["spec"]["template"]["metadata"]["labels"].items()
            assert selector["app.kubernetes.io/instance"] == "other"


def test_a_new_version_of_the_chart_alone_restarts_no_pod(uses):
    for use in ("one replica", "production"):
        for item in uses[use]:
            if item["kind"] == "Deployment":
                assert "helm.sh/chart" not in item["spec"]["template"]["metadata"]["labels"]


# --- images -------------------------------------------------------------------------------


def test_images_are_those_of_compose(render, uses, root):
    services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    compose = {name: services[name]["image"].partition(":-")[2].rstrip("}") for name in ("triton", "cpu", "gateway")}
    assert container_of(uses["one replica"])["image"] == compose["triton"]
    assert uses["build"][-1]["spec"]["template"]["spec"]["containers"][0]["image"] == compose["triton"]
    assert container_of(uses["cpu"])["image"] == compose["cpu"]
    assert container_of(uses["TLS and gateway"], "-openai")["image"] == compose["gateway"]


def test_the_release_is_that_of_the_pinned_image(deploy):
    values = yaml.safe_load((deploy / "chart/values.yaml").read_text())
    assert IMAGE.partition(":")[2].startswith(f"{values['engine']['release']}-")


# --- OpenAI's API -------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["production", "TLS and gateway"])
def test_the_gateway_takes_its_command(uses, use):
    container, pod = container_of(uses[use], "-openai"), pod_of(uses[use], "-openai")
    program, name, *arguments = container["args"]
    assert (program, name) == ("s1", "gateway")
    options = gateway.make_context("gateway", arguments).params
    assert (options["host"], options["port"]) == ("0.0.0.0", container["ports"][0]["containerPort"])
    assert bool(options["keys_file"]) != options["allow_anyone"]
    assert options["url"] == ("inference.gateways:80" if use == "production" else "grpcs://s1:8001")
    assert bool(options["ca_file"]) == (use != "production")
    assert options["drain_s"] >= options_of(uses[use]).drain_s
    prestop_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > prestop_s + options["drain_s"]


def test_the_gateways_probes_are_let_through_whatever_hosts_are_allowed(render):
    values = {"openai": {"enabled": True, "allowAnyone": True, "allowHosts": ["api.example"]}}
    container = container_of(render(values=values), "-openai")
    hosts = [word for before, word in zip(container["args"], container["args"][1:], strict=False) if before == "--allow-host"]
    assert hosts == ["localhost", "api.example"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
