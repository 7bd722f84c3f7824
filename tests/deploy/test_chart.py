# SPDX-License-Identifier: Apache-2.0
"""build/deploy/chart as Helm renders it, held to the schemas of Kubernetes and of the operators, and to the rest of the project."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from budgetforce.building.__main__ import main as building
from budgetforce.building.options import preset_names
from budgetforce.building.spec import IMAGE, TENSOR_PARALLEL, VARIANTS
from budgetforce.launcher import options as launcher
from budgetforce.launcher.triton_server import DRAIN_END_S, FOLLOW_S, ORDERLY_END_S
from deploy.chart_resources import CUSTOM, KEYS, key_paths
from deploy.helm import Refused, helm
from s1_client.cli.server.gateway import gateway

pytestmark = pytest.mark.xdist_group("chart")
HERE = Path(__file__).parent
KUBERNETES = ("1.30", "1.37")  # the oldest that the chart allows, and the newest
POOL = {"create": True, "name": "", "endpointPicker": {"name": "picker"}}
HPA = {"keda": {"enabled": False}, "hpa": {"enabled": True}}
TLS = {"enabled": True, "secretName": "certificate", "requireClientCertificate": True}
USES = {
    "one replica": ([], {}),
    "build": ([], {"mode": "build", "engine": {"build": {"hubTokenSecret": "hub"}, "model": "owner/name", "calibration": "/data/texts"}}),
    "cpu": (["cpu.yaml"], {}),
    "production": (["production.yaml"], {}),
    "build for production": (["production.yaml"], {"mode": "build"}),
    "own pool, HPA": (["production.yaml"], {"inferencePool": POOL, "autoscaling": HPA, "networkPolicy": {"egress": [{}]}}),
    "no pool": (["production.yaml"], {"inferencePool": {"name": ""}}),
    "TLS": ([], {"tls": TLS, "auth": {"enabled": True, "secretName": "secret"}}),
    "TLS and gateway": ([], {"tls": {**TLS, "requireClientCertificate": False}, "openai": {"enabled": True, "allowAnyone": True}}),
}


@pytest.fixture(scope="module")
def deploy(root):
    return root / "build" / "deploy"


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    with helm(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def render(renderer, deploy):
    """Render the chart with value files of build/deploy and with values, as release s1 or, for a build, s1-build."""

    def run(files=(), values=None, **options):
        if (values or {}).get("mode") == "build":
            options["release"] = "s1-build"
        return renderer.render(deploy / "chart", values, [deploy / name for name in files], **options)

    return run


@pytest.fixture(scope="module")
def uses(render):
    """What each use renders."""
    return {name: render(*use) for name, use in USES.items()}


def one(objects, kind, suffix=""):
    """The object of that kind whose name ends so."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == f"s1{suffix}"]
    return found


def pod_of(objects, suffix=""):
    return one(objects, "Deployment", suffix)["spec"]["template"]["spec"]


def container_of(objects, suffix=""):
    (container,) = pod_of(objects, suffix)["containers"]
    return container


def options_of(objects):
    """The launcher's options, as the launcher parses them."""
    program, arguments = container_of(objects)["args"][:3], container_of(objects)["args"][3:]
    assert program == ["python3", "-m", "budgetforce.launcher"]
    return launcher.parse_options(arguments)


# --- schemas -----------------------------------------------------------------------------


def test_each_use_renders_its_objects(uses):
    kinds = {name: sorted({item["kind"] for item in objects}) for name, objects in uses.items()}
    server = ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"]
    assert kinds["one replica"] == kinds["cpu"] == kinds["TLS"] == server
    assert kinds["build"] == kinds["build for production"] == ["Job", "PersistentVolumeClaim"]
    watched = sorted([*server, "ConfigMap", "HTTPRoute", "PodMonitor", "PrometheusRule"])
    assert kinds["production"] == sorted([*watched, "ScaledObject"])
    assert kinds["own pool, HPA"] == sorted([*watched, "HorizontalPodAutoscaler", "InferencePool"])
    assert kinds["no pool"] == sorted([*watched, "GRPCRoute", "ScaledObject"])


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_the_objects(uses, use, version):
    """By its own schemas, strictly: an unknown key is an error."""
    for item in uses[use]:
        if item["apiVersion"] not in CUSTOM:
            kubernetes_validate.validate(item, version, strict=True)


def test_an_older_kubernetes_is_refused(render):
    with pytest.raises(Refused, match="chart requires kubeVersion: >=1.30.0-0 which is incompatible with Kubernetes v1.29.0"):
        render(kubernetes="v1.29.0")


def test_the_schemas_refuse_a_wrong_key(uses):
    broken = json.loads(json.dumps(one(uses["one replica"], "Deployment")))
    broken["spec"]["template"]["spec"]["terminationGraceSeconds"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGraceSeconds"):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("use", USES)
def test_custom_resources_use_known_keys_only(uses, use):
    for item in uses[use]:
        if item["apiVersion"] in CUSTOM:
            assert key_paths(item) <= KEYS[item["kind"]], item["kind"]


def test_the_operators_types_accept_the_custom_resources(uses, root):
    items = [item for objects in uses.values() for item in objects if CUSTOM.get(item["apiVersion"])]
    assert {item["kind"] for item in items} == KEYS.keys() - {"InferencePool"}
    assert findings(root, items) == []
    assert len(findings(root, [{**items[0], "spec": "text"}])) == 1


def findings(root, items):
    folder = root / ".s1/npm"
    if shutil.which("node") is None or not (folder / "node_modules/@kubernetes-models").is_dir():
        pytest.skip("python3 build/local.py test installs the operators' types where npm is")
    command = ["node", HERE / "custom_resources.mjs", folder]
    done = subprocess.run(command, input=json.dumps(items), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_both_versions_of_helm_render_the_same(render, uses):
    for name, (files, values) in USES.items():
        other = render(files, values, version="v4")
        assert sorted(map(str, other)) == sorted(map(str, uses[name]))


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_helms_linter_has_no_complaint(renderer, deploy, version):
    assert [message["message"] for message in renderer.lint(deploy / "chart", version)] == ["icon is recommended"]


def test_every_value_has_a_description_and_every_number_its_limits(deploy):
    """The schema and values.yaml name the same values, and the defaults keep the schema."""
    schema = json.loads((deploy / "chart/values.schema.json").read_text())
    values = yaml.safe_load((deploy / "chart/values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    described = dict(leaves(schema))
    assert described.pop("global")
    assert described.keys() == set(value_names(values, schema))
    for name, entry in described.items():
        assert entry["description"], name
        kinds = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
        assert not {"integer", "number"} & set(kinds) or "enum" in entry or {"minimum", "maximum"} <= entry.keys(), name


def test_the_schema_allows_what_the_build_allows(deploy):
    engine = json.loads((deploy / "chart/values.schema.json").read_text())["properties"]["engine"]["properties"]
    assert set(engine["preset"]["enum"]) == set(preset_names())
    assert set(engine["variant"]["enum"]) == set(VARIANTS)
    assert set(engine["tensorParallel"]["enum"]) == set(TENSOR_PARALLEL)


def leaves(schema, name=""):
    """Yield the name and the schema of each value that is no group of values."""
    for key, entry in schema["properties"].items():
        if "properties" in entry and entry.get("additionalProperties") is False:
            yield from leaves(entry, f"{name}{key}.")
        else:
            yield f"{name}{key}", entry


def value_names(values, schema, name=""):
    for key, value in values.items():
        entry = schema["properties"][key]
        if "properties" in entry:
            missing = dict.fromkeys(entry["properties"].keys() - value.keys()) if set(entry["properties"]) == {"requests", "limits"} else {}
            yield from value_names({**value, **missing}, entry, f"{name}{key}.")
        else:
            yield f"{name}{key}"


# --- the server's pod --------------------------------------------------------------------


@pytest.mark.parametrize("use", ["one replica", "production", "TLS"])
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


# --- images ------------------------------------------------------------------------------


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


# --- the engine --------------------------------------------------------------------------


def job_of(objects):
    (job,) = [item for item in objects if item["kind"] == "Job"]
    return job


def mount_of(pod):
    (mount,) = [mount for container in pod["containers"] for mount in container["volumeMounts"] if mount["name"] == "engines"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "engines"]
    return volume["persistentVolumeClaim"]["claimName"], mount["mountPath"], mount["subPath"], mount.get("readOnly", False)


@pytest.mark.parametrize("use", ["build", "build for production"])
def test_the_build_takes_its_command(uses, use, capsys):
    command = job_of(uses[use])["spec"]["template"]["spec"]["containers"][0]["args"]
    assert command[:3] == ["python3", "-m", "budgetforce.building"]
    assert building([*command[3:], "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "# verify: /data/engine" in printed
    assert ("owner/name" in printed) == (use == "build")


@pytest.mark.parametrize("files", [[], ["production.yaml"]])
def test_the_server_reads_the_folder_that_the_build_writes(render, files):
    """Same values, same folder of the same claim; the server may only read it, and both have the same GPUs."""
    server, build = pod_of(render(files)), job_of(render(files, {"mode": "build"}))["spec"]["template"]["spec"]
    claim, place, folder, _ = mount_of(build)
    assert (claim, place) == ("s1-engines", "/data")
    assert re.fullmatch(r"engines/s1-32b-bf16-tp2-[0-9a-f]{8}", folder)
    assert mount_of(server) == (claim, place, folder, True)
    limits = [pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for pod in (server, build)]
    assert limits == [2, 2]
    assert server.get("affinity") == build.get("affinity")


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"preset": "s1.1-32b"}},
        {"engine": {"variant": "fp8"}},
        {"engine": {"maxBatchSize": 64}},
        {"engine": {"revision": "abcdef0"}},
        {"engine": {"release": "26.08"}},
        {"engine": {"tensorParallel": 4}, "gpus": 4},
        {"gpuProduct": "NVIDIA-H200"},
    ],
    ids=str,
)
def test_another_engine_has_another_folder_and_job(render, change):
    """Old pods go on with the old engine during a rollout, and a rollback finds it."""
    (first, build), (other, other_build) = (
        (render(values=values), job_of(render(values={**values, "mode": "build"}))) for values in ({}, change)
    )
    assert mount_of(pod_of(first)) != mount_of(pod_of(other))
    assert build["metadata"]["name"] != other_build["metadata"]["name"]


def test_what_does_not_change_the_engine_keeps_its_folder(render):
    values = {"replicas": 3, "image": {"tag": "26.07-2"}, "server": {"maxReplies": 9}}
    assert mount_of(pod_of(render())) == mount_of(pod_of(render(values=values)))
    assert mount_of(pod_of(render(values={"engine": {"id": "mine"}})))[2] == "engines/mine"


def test_a_job_whose_template_changes_is_another_job(render):
    """Kubernetes refuses to change the template of a Job."""
    changes = ({}, {"image": {"tag": "26.07-2"}}, {"shmMiB": 4096}, {"nodeSelector": {"pool": "gpu"}}, {"priorityClassName": "low"})
    jobs = [job_of(render(values={**change, "mode": "build"})) for change in changes]
    assert len({job["metadata"]["name"] for job in jobs}) == len(jobs) == len({json.dumps(job["spec"]["template"]) for job in jobs})


def test_helm_never_removes_the_engines(uses):
    claim = one(uses["build"], "PersistentVolumeClaim", "-engines")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


# --- monitoring and scaling --------------------------------------------------------------


def test_the_alerts_are_those_of_the_project(uses, root):
    rules = one(uses["production"], "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((root / "build/monitoring/alerts.yml").read_text())
    shown = one(uses["production"], "ConfigMap", "-dashboard")["data"]["s1.json"]
    assert json.loads(shown) == json.loads((root / "build/monitoring/dashboard.json").read_text())


def test_the_alerts_expect_the_job_that_the_pod_monitor_sets(uses):
    """Alert S1Down is about job="s1": a label of the pods gives the job its name."""
    monitor = one(uses["production"], "PodMonitor")["spec"]
    pod = one(uses["production"], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert pod[monitor["jobLabel"]] == "s1"
    assert monitor["podMetricsEndpoints"][0]["port"] in [port["name"] for port in container_of(uses["production"])["ports"]]
    assert monitor["selector"]["matchLabels"].items() <= pod.items()


def test_replicas_are_added_for_requests_that_wait_and_for_full_replicas(uses):
    scaled = one(uses["production"], "ScaledObject")["spec"]
    queries = {trigger["metadata"]["query"]: trigger["metadata"]["threshold"] for trigger in scaled["triggers"]}
    series = '{namespace="serving",app_kubernetes_io_instance="s1"}'
    assert queries == {f"sum(s1_requests_waiting{series})": "1", f"sum(s1_replies_running{series})": "29"}  # 0.8 of 36
    metrics = one(uses["own pool, HPA"], "HorizontalPodAutoscaler")["spec"]["metrics"]
    found = {metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"] for metric in metrics}
    assert found == {"s1_requests_waiting": "1", "s1_replies_running": "29"}
    assert "replicas" not in one(uses["production"], "Deployment")["spec"]
    assert one(uses["one replica"], "Deployment")["spec"]["replicas"] == 1


def test_replicas_are_taken_away_more_slowly_than_a_thought_lasts(uses):
    for behavior in (
        one(uses["production"], "ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        one(uses["own pool, HPA"], "HorizontalPodAutoscaler")["spec"]["behavior"],
    ):
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= options_of(uses["production"]).drain_s
        assert [policy["value"] for policy in behavior["scaleDown"]["policies"]] == [1]


# --- network -----------------------------------------------------------------------------


def test_only_grpc_and_metrics_may_be_reached(uses):
    policy = one(uses["production"], "NetworkPolicy")["spec"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["grpc"], ["metrics"]]
    assert all(rule["from"] for rule in policy["ingress"])
    assert policy["egress"] == []
    assert policy["podSelector"]["matchLabels"] == one(uses["production"], "Deployment")["spec"]["selector"]["matchLabels"]
    assert [port["port"] for rule in one(uses["one replica"], "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]] == ["grpc"]


def test_the_gateway_of_the_chart_may_reach_the_server(uses):
    peers = one(uses["production"], "NetworkPolicy")["spec"]["ingress"][0]["from"]
    labels = one(uses["production"], "Deployment", "-openai")["spec"]["template"]["metadata"]["labels"]
    assert any(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in peers if "podSelector" in peer)


def test_routes_have_a_backend_that_exists(uses):
    pool = one(uses["own pool, HPA"], "InferencePool")
    assert pool["spec"]["appProtocol"] == "kubernetes.io/h2c"
    assert pool["spec"]["selector"]["matchLabels"] == one(uses["own pool, HPA"], "Deployment")["spec"]["selector"]["matchLabels"]
    (rule,) = one(uses["own pool, HPA"], "HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"][0]["name"] == pool["metadata"]["name"]
    assert rule["timeouts"] == {"request": "0s"}
    (rule,) = one(uses["no pool"], "GRPCRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "s1", "port": 8001}]
    (rule,) = one(uses["production"], "HTTPRoute", "-openai")["spec"]["rules"]
    service = one(uses["production"], "Service", "-openai")["spec"]
    assert rule["backendRefs"] == [{"name": "s1-openai", "port": service["ports"][0]["port"]}]
    assert one(uses["production"], "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0]["name"] == "s1-router"


def test_the_router_selects_the_servers_pods(uses, deploy):
    router = yaml.safe_load((deploy / "llm-d-router.yaml").read_text())["router"]
    labels = one(uses["production"], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert router["modelServers"]["matchLabels"].items() <= labels.items()
    assert router["modelServers"]["targetPorts"] == [{"number": 8001}]
    picker = yaml.safe_load(router["epp"]["pluginsCustomConfig"][router["epp"]["pluginsConfigFile"]])
    used = {
        entry["pluginRef"] for part in (picker["requestHandler"]["parsers"], picker["schedulingProfiles"][0]["plugins"]) for entry in part
    }
    assert used == {plugin["type"] for plugin in picker["plugins"]}


# --- OpenAI's API ------------------------------------------------------------------------


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


# --- the page ----------------------------------------------------------------------------


def test_the_commands_of_the_page_render(render, root):
    """Each with its release, value files and --set; my.yaml is the user's copy of production.yaml."""
    page = (root / "docs/kubernetes.md").read_text()
    commands = [shlex.split(line, comments=True) for line in re.findall(r"helm (?:install|upgrade|template) [^`\n]*", page)]
    assert len(commands) >= 6
    for command in commands:
        _, _, release, chart, *options = command
        assert chart == "build/deploy/chart"
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert given.keys() <= {"--namespace", "--values", "--set"}
        name = Path(given["--values"]).name.replace("my.yaml", "production.yaml")
        values = dict([given["--set"].split("=")]) if "--set" in given else {}
        assert render([name], values, release=release)
    assert {command[2] for command in commands if "--set" in command} == {"s1-build"}


def test_chart_page_and_notes_say_that_no_cluster_has_run_it(deploy, root):
    for path in (
        deploy / "chart/Chart.yaml",
        deploy / "chart/README.md",
        deploy / "chart/templates/NOTES.txt",
        root / "docs/kubernetes.md",
    ):
        assert "not yet run on a cluster" in path.read_text().lower(), path.name
