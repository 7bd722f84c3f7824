# SPDX-License-Identifier: Apache-2.0
"""docker-compose.yml as Docker Compose itself resolves it, after checking it against the specification's schema."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from budgetforce.building.__main__ import main as building
from budgetforce.building.spec import IMAGE
from budgetforce.launcher import options as launcher
from budgetforce.launcher.drain import DRAIN_END_S
from budgetforce.launcher.triton_server import DRAIN_S, FOLLOW_S, ORDERLY_END_S
from s1_client.cli.server.gateway import gateway

COMPOSE = Path(sys.prefix) / "bin" / "docker-compose"
KNOB = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.M)
PROFILES = "COMPOSE_PROFILES"  # read by Compose, named by no service
TLS = {"S1_TLS_CERT": "/etc/s1/cert.pem", "S1_TLS_KEY": "/etc/s1/key.pem"}
EVERY_OPTION = {
    **TLS,
    "S1_TLS_CLIENT_CA": "/etc/s1/ca.pem",
    "S1_SECRET_FILE": "/etc/s1/secret",
    "S1_TENANT_SECRET_FILE": "/etc/s1/tenants",
    "S1_HTTP_HOST": "0.0.0.0",
    "S1_LAME_DUCK_S": "5",
    "HF_TOKEN_FILE": "/etc/s1/token",
    "S1_MODEL": "owner/name",
    "S1_REVISION": "abcdef0",
    "S1_VARIANT": "fp8",
    "S1_MAX_SEQ_LEN": "16384",
    "S1_MAX_BATCH_SIZE": "8",
    "S1_MAX_NUM_TOKENS": "4096",
    "S1_CALIBRATION": "/data/texts",
    "S1_MAX_REPLIES": "32",
    "S1_MAX_WAITING": "8",
    "S1_MAX_KV_TOKENS": "1000",
    "S1_MAX_TENANT_REPLIES": "16",
    "S1_MAX_TENANT_WAITING": "4",
    "S1_LOG_LEVEL": "debug",
    "S1_LOG_FORMAT": "json",
    "S1_LOG_PROMPTS": "on",
    "S1_TRACE_URL": "http://collector:4318/v1/traces",
    "S1_TRACE_RATE": "0.1",
    "S1_GATEWAY_KEYS": "/etc/s1/keys",
    "S1_GATEWAY_HOST": "gpu1.example",
}


@pytest.fixture(scope="module")
def compose(root):
    """Run Compose with arguments, and only these settings in its environment. Return its output."""

    def run(*arguments: str, **settings: str) -> str:
        command = [COMPOSE, "--project-directory", root, "--file", root / "docker-compose.yml", *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", **settings}
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr  # it warns of what it does not know
        return done.stdout

    return run


@pytest.fixture(scope="module")
def resolved(compose):
    """Resolve the file with these settings, for all profiles."""

    def run(**settings: str) -> dict:
        return json.loads(compose("--profile", "*", "config", "--format", "json", **settings))

    return run


@pytest.fixture(scope="module")
def services(resolved):
    """The services with default settings."""
    return resolved()["services"]


@pytest.fixture(scope="module")
def servers(services):
    """The two services that listen on ports."""
    return [services["triton"], services["cpu"]]


# --- what starts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "started"),
    [
        ((), {"build", "triton"}),
        (("--profile", "cpu"), {"cpu"}),
        (("--profile", "gpu"), {"build", "triton"}),
        (("--profile", "cpu", "--profile", "gateway"), {"cpu", "gateway"}),
        (("--profile", "gpu", "--profile", "gateway"), {"build", "triton", "gateway"}),
        (("--profile", "cpu", "--profile", "monitoring"), {"cpu", "prometheus", "grafana"}),
        (("--env-file", ".env.example"), {"build", "triton"}),
        (("--env-file", ".env.example", "--profile", "cpu"), {"cpu"}),
    ],
)
def test_what_starts(compose, root, arguments, started):
    here = [str(root / word) if word.startswith(".env") else word for word in arguments]
    assert set(compose(*here, "config", "--services").split()) == started


def test_the_shells_profile_wins(compose):
    assert compose("config", "--services", COMPOSE_PROFILES="cpu").split() == ["cpu"]


def test_triton_waits_for_a_build_that_succeeded_and_runs_once(services):
    assert services["triton"]["depends_on"]["build"]["condition"] == "service_completed_successfully"
    assert services["build"]["restart"] == "no"


# --- settings ----------------------------------------------------------------------------


def test_the_example_holds_every_setting_at_its_default(compose, root):
    """And no other: the example lists exactly the settings that the file uses."""
    shown = dict(KNOB.findall((root / ".env.example").read_text()))
    lines = compose("--profile", "*", "config", "--variables").splitlines()[1:]
    names = {line.split()[0] for line in lines}
    assert set(shown) - {PROFILES} == names
    example = compose("--env-file", str(root / ".env.example"), "--profile", "*", "config")
    assert example == compose("--profile", "*", "config")


def test_the_example_shows_each_default(compose, root):
    """Not only where it is the same as nothing: an empty value stands for none or for an empty file."""
    shown = dict(KNOB.findall((root / ".env.example").read_text()))
    text = (root / "docker-compose.yml").read_text()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert {name: shown[name] for name in defaults} == {name: "" if value == "/dev/null" else value for name, value in defaults.items()}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("README.md", "Docker Compose"),
        ("docs/gpu-engine.md", "Build"),
        *(("docs/deployment.md", title) for title in ("Docker Compose", "Sizing", "Rolling out")),
    ],
)
def test_the_docs_name_only_existing_settings(root, name, title):
    section = (root / name).read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`((?:S1|COMPOSE)_[A-Z0-9_]+|HF_TOKEN_FILE)[=`]", section))
    assert section
    assert named <= dict(KNOB.findall((root / ".env.example").read_text())).keys()


def test_the_shipped_settings_choose_the_profile_alone(root):
    """Others are each machine's own, in a file that git ignores."""
    assert KNOB.findall((root / ".env").read_text()) == [(PROFILES, "gpu")]
    ignored = (root / ".gitignore").read_text().split()
    assert "/local.env" in ignored
    assert not {".env", "/.env"} & set(ignored)


def test_the_image_is_the_projects_wherever_it_is_named(root, services):
    assert services["build"]["build"]["args"]["TRITON_IMAGE"] == services["triton"]["build"]["args"]["TRITON_IMAGE"] == IMAGE
    assert f"ARG TRITON_IMAGE={IMAGE}\n" in (root / "build/Dockerfile").read_text()
    for name in ("cpu", "gateway"):
        python = services[name]["build"]["args"]["PYTHON_IMAGE"]
        assert f"ARG PYTHON_IMAGE={python}\n" in (root / f"build/{name}.Dockerfile").read_text()


def test_no_image_floats(services):
    for service in services.values():
        tags = [service["image"], *service.get("build", {"args": {}})["args"].values()]
        assert not [tag for tag in tags if ":" not in tag or tag.endswith(":latest")]


# --- commands ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, EVERY_OPTION], ids=["defaults", "every option"])
def test_the_launcher_takes_its_commands(resolved, settings):
    services = resolved(**settings)["services"]
    for name in ("triton", "cpu"):
        program, arguments = services[name]["command"][:3], services[name]["command"][3:]
        assert program == ["python3", "-m", "budgetforce.launcher"]
        options = launcher.parse_options(arguments)
        assert not options.command
        assert options.host == "0.0.0.0"  # inside; outside, the ports say
        assert (options.http_port, options.grpc_port, options.metrics_port) == (8000, 8001, 8002)
        assert (options.ready_port, options.lame_duck_s) == (8003, 5 if settings else 0)
        assert (options.max_replies, options.max_waiting) == ((32, 8) if settings else (None, 1024))
        traced = (options.trace_url, options.trace_rate)
        assert traced == (("http://collector:4318/v1/traces", 0.1) if settings else (None, None))
        limits = (options.max_kv_tokens, options.max_tenant_replies, options.max_tenant_waiting)
        assert limits == ((1000, 16, 4) if settings else (0, 0, 0))
        assert bool(options.tls_cert) == bool(options.secret_file) == bool(options.http_host) == bool(settings)
        assert bool(options.tenant_secret_file) == bool(settings)


@pytest.mark.parametrize("settings", [{}, EVERY_OPTION], ids=["defaults", "every option"])
def test_the_gateway_takes_its_command_and_calls_the_server_by_its_name(resolved, settings, servers):
    service = resolved(**settings)["services"]["gateway"]
    program, name, *arguments = service["command"]
    assert (program, name) == ("s1", "gateway")
    options = gateway.make_context("gateway", arguments).params
    assert (options["host"], options["port"], options["max_open"]) == ("0.0.0.0", 8080, 256)
    host, _, port = options["url"].rpartition(":")
    assert all(host in server["networks"]["default"]["aliases"] for server in servers)
    assert port == "8001"
    assert bool(options["keys_file"]) == bool(options["secret_file"]) == bool(options["ca_file"]) == bool(settings)
    assert bool(options["tenant_secret_file"]) == bool(settings)
    assert [(at["host_ip"], at["target"], at["published"]) for at in service["ports"]] == [("127.0.0.1", 8080, "8080")]
    assert seconds(service["stop_grace_period"]) > options["drain_s"]


@pytest.mark.parametrize("settings", [{}, EVERY_OPTION], ids=["defaults", "every option"])
def test_the_build_takes_its_command(resolved, settings, capsys):
    command = resolved(**settings)["services"]["build"]["command"]
    assert command[:3] == ["python3", "-m", "budgetforce.building"]
    assert building([*command[3:], "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert settings.get("S1_MODEL", "simplescaling/s1-32B") in printed
    assert f"--max_batch_size {settings.get('S1_MAX_BATCH_SIZE', 32)}" in printed
    assert f"--max_num_tokens {settings.get('S1_MAX_NUM_TOKENS', 8192)}" in printed
    assert ("--calib_dataset /data/texts" in printed) == bool(settings)


def test_the_server_finds_what_the_build_leaves(services, capsys):
    """One volume, at one path; the server may only read it."""
    build, triton = services["build"], services["triton"]
    assert building([*build["command"][3:], "--dry-run"]) == 0
    printed = capsys.readouterr().out
    options = launcher.parse_options(triton["command"][3:])
    assert f"# verify: {options.engine_dir}" in printed
    assert f"# render: {options.model_repository[-1]}/tensorrt_llm/config.pbtxt, engine at {options.engine_dir}" in printed
    places = [[(volume["source"], volume["target"]) for volume in service["volumes"]] for service in (build, triton)]
    assert places == [[("work", "/data")], [("work", "/data")]]
    assert triton["volumes"][0]["read_only"]


def test_half_of_a_pair_reaches_the_launcher(resolved):
    """The launcher refuses a key without its certificate, so it has to get the option."""
    for name, flag in (("S1_TLS_KEY", "--tls-key"), ("S1_TLS_CERT", "--tls-cert")):
        command = resolved(**{name: TLS[name]})["services"]["triton"]["command"]
        assert flag in command
        assert len({"--tls-key", "--tls-cert"} & set(command)) == 1


# --- safety ------------------------------------------------------------------------------


def test_ports_are_bound_to_this_machine_unless_set_otherwise(servers, resolved):
    for service in servers:
        assert [(port["host_ip"], port["target"], port["published"]) for port in service["ports"]] == [
            ("127.0.0.1", port, str(port)) for port in (8000, 8001, 8002, 8003)
        ]
    opened = resolved(S1_BIND="0.0.0.0", S1_GRPC_PORT="9001")["services"]["cpu"]["ports"][1]
    assert (opened["host_ip"], opened["target"], opened["published"]) == ("0.0.0.0", 8001, "9001")


def test_containers_have_few_rights(services, root):
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
        assert "user" not in service  # the image's: others' are not root either, and ours as follows
        if "build" not in service:
            continue
        dockerfile = (root / service["build"]["dockerfile"]).read_text()
        assert re.findall(r"^USER (.*)$", dockerfile, re.M) == ["1000:1000"]


def test_secrets_are_files(resolved):
    """Neither in an environment, which `docker inspect` shows, nor on a command line: there they are paths."""
    found = resolved(**EVERY_OPTION)
    files = {name: secret["file"] for name, secret in found["secrets"].items()}
    given = ("HF_TOKEN_FILE", "S1_SECRET_FILE", "S1_TENANT_SECRET_FILE", "S1_TLS_CERT", "S1_TLS_KEY", "S1_TLS_CLIENT_CA", "S1_GATEWAY_KEYS")
    assert sorted(files.values()) == sorted(EVERY_OPTION[name] for name in given)
    assert [secret["source"] for secret in found["services"]["build"]["secrets"]] == ["hub_token"]
    for service in found["services"].values():
        words = [*(service.get("command") or []), *service.get("environment", {}).values()]
        paths = {word for word in words if "/run/secrets/" in word}
        assert paths == {f"/run/secrets/{secret['source']}" for secret in service.get("secrets", [])}
        assert not set(words) & set(files.values())


def test_a_secret_that_is_not_set_is_an_empty_file(resolved):
    assert {secret["file"] for secret in resolved()["secrets"].values()} == {"/dev/null"}


# --- monitoring --------------------------------------------------------------------------


def test_prometheus_and_grafana_find_the_files_of_the_project(services, root):
    """And each other: the data source has Prometheus's address."""
    mounted = {
        volume["target"]: Path(volume["source"])
        for name in ("prometheus", "grafana")
        for volume in services[name]["volumes"]
        if volume["type"] == "bind"
    }
    assert all(path.exists() and path.is_relative_to(root / "build/monitoring") for path in mounted.values())
    assert (mounted["/etc/s1"] / "prometheus.yml").is_file()
    assert "--config.file=/etc/s1/prometheus.yml" in services["prometheus"]["command"]
    assert "http://prometheus:9090" in mounted["/etc/grafana/provisioning/datasources/s1.yml"].read_text()
    (port,) = services["prometheus"]["ports"]
    assert (port["host_ip"], port["target"]) == ("127.0.0.1", 9090)


def test_prometheus_scrapes_the_services_that_listen(services, root):
    jobs = yaml.safe_load((root / "build/monitoring/prometheus.yml").read_text())["scrape_configs"]
    scraped = {(name, found["port"]) for job in jobs for found in job["dns_sd_configs"] for name in found["names"]}
    assert {name for name, _ in scraped} == {name for name, service in services.items() if "healthcheck" in service}
    assert all(number in [port["target"] for port in services[name]["ports"]] for name, number in scraped)


# --- life --------------------------------------------------------------------------------


def test_servers_have_health_checks_and_are_restarted(servers):
    for service in servers:
        assert service["healthcheck"]["test"] == ["CMD", "python3", "-m", "budgetforce.health"]
        assert service["restart"] == "unless-stopped"


def test_docker_gives_a_stop_its_time(servers, resolved):
    """The announcement, running replies, Triton's own end, and that of the other ranks."""
    for service in [*servers, resolved(S1_LAME_DUCK_S="15")["services"]["triton"]]:
        options = launcher.parse_options(service["command"][3:])
        assert options.drain_s >= DRAIN_S
        assert seconds(service["stop_grace_period"]) >= options.lame_duck_s + options.drain_s + DRAIN_END_S + ORDERLY_END_S + FOLLOW_S
    assert options.lame_duck_s == 15


def test_a_start_is_not_unhealthy_before_it_has_failed(servers, resolved):
    for service in [*servers, resolved(S1_START_S="300")["services"]["triton"]]:
        assert seconds(service["healthcheck"]["start_period"]) == launcher.parse_options(service["command"][3:]).start_s


def test_the_gpus_are_as_many_as_the_engine_has_ranks(resolved):
    for count in (1, 2, 4):
        services = resolved(S1_GPUS=str(count))["services"]
        command = services["build"]["command"]
        assert command[command.index("--tp") + 1] == str(count)
        for name in ("build", "triton"):
            (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
            assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", count, ["gpu"])
            assert int(services[name]["shm_size"]) >= 2**30  # what the checks before a start want
            assert services[name]["ulimits"]["memlock"] == -1


def seconds(duration: str) -> float:
    """Parse a duration in Compose's notation: 1m30s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration))
