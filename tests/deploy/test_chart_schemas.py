# SPDX-License-Identifier: Apache-2.0
"""build/deploy/chart as Helm 3 and 4 render it, held to the schemas of Kubernetes and of the operators, and to its page."""

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

from budgetforce.building.options import preset_names
from budgetforce.building.spec import TENSOR_PARALLEL, VARIANTS
from deploy.chart_resources import CUSTOM, KEYS, key_paths
from deploy.charts import USES, one
from deploy.helm import Refused

pytestmark = pytest.mark.xdist_group("chart")
HERE = Path(__file__).parent
KUBERNETES = ("1.30", "1.37")  # the oldest that the chart allows, and the newest


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


# --- the page -----------------------------------------------------------------------------


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
