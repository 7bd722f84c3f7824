# SPDX-License-Identifier: Apache-2.0
"""Prometheus's configuration, the alerts and the dashboard, with Debian's real Prometheus where it can be had."""

import contextlib
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from budgetforce.serving.metric_definitions import METRICS, Kind

SUFFIXES = {Kind.COUNTER: ("",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
SERIES = {name + suffix: metric for name, metric in METRICS.items() for suffix in SUFFIXES[metric.kind]}


@pytest.fixture(scope="session")
def folder(root):
    return root / "build" / "monitoring"


@pytest.fixture(scope="session")
def promtool(root):
    return prometheus_programs(root) / "promtool"


def prometheus_programs(root: Path) -> Path:
    """The folder of prometheus and promtool: on PATH, or unpacked from Debian's package into .s1."""
    if found := shutil.which("promtool"):
        return Path(found).parent
    place = root / ".s1" / "prometheus"
    if not place.is_dir():
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as made:
            unpack(Path(made))
            with contextlib.suppress(OSError):  # another process of the tests was first
                (Path(made) / "unpacked").rename(place)
    return place / "usr" / "bin"


def unpack(folder: Path) -> None:
    """Unpack Debian's package into a folder; skip the test if it cannot be had."""
    try:
        subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, check=True, capture_output=True, timeout=60)
        (package,) = folder.glob("prometheus_*.deb")
        subprocess.run(["dpkg", "-x", package, folder / "unpacked"], check=True, capture_output=True, timeout=60)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        pytest.skip(f"no promtool on PATH, and Debian's package cannot be had: {error}")


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def panels(folder):
    """The dashboard's panels as they are shipped: title and expressions."""
    shipped = json.loads((folder / "dashboard.json").read_text())
    return {one["title"]: [target["expr"] for target in one["targets"]] for one in shipped["panels"] if one["type"] != "row"}


@pytest.fixture(scope="session")
def rules(folder):
    return {rule["alert"]: rule for rule in yaml.safe_load((folder / "alerts.yml").read_text())["groups"][0]["rules"]}


def test_prometheus_accepts_its_configuration_and_the_rules(promtool, folder):
    run(promtool, "check", "config", folder / "prometheus.yml")
    assert "8 rules found" in run(promtool, "check", "rules", folder / "alerts.yml")


def test_each_alert_fires_and_stays_silent_when_it_should(promtool, folder):
    assert "SUCCESS" in run(promtool, "test", "rules", folder / "alerts.test.yml")


def test_every_alert_is_tried(folder, rules):
    """It fires in one of the cases, and all stay silent in the first."""
    healthy, *others = yaml.safe_load((folder / "alerts.test.yml").read_text())["tests"]
    assert [case["alertname"] for case in healthy["alert_rule_test"]] == list(rules)
    fired = [case["alertname"] for other in others for case in other["alert_rule_test"] if case.get("exp_alerts")]
    assert sorted(fired) == sorted(rules)


def test_every_alert_names_its_section_of_the_operators_page(root, rules):
    """It says what the alert means and what to do; no section is left of an alert that is gone."""
    page = (root / "docs/operations.md").read_text()
    sections = dict(re.findall(r"^### (S1\w+)\n(.*?)(?=^##)", page, re.M | re.S))
    assert list(sections) == list(rules)
    for name, rule in rules.items():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert "\n*Means*: " in sections[name] and "\n*Do*: " in sections[name]


def test_the_example_of_sizing_has_the_planners_figures(root):
    """Those of the page of GPU engines, which a test compares with the planner."""
    (replies,) = re.findall(r"^8,000 +\d+ +(\d+) ", (root / "docs/gpu-engine.md").read_text(), re.M)
    page = (root / "docs/operations.md").read_text()
    per_hour = r"(\d+) replies of 8,000 thinking tokens per hour and server\.\s+"
    said, needed, quotient, servers = re.search(per_hour + r"For ([\d,]+) such replies.* = ([\d.]+), so (\d+) servers", page).groups()
    exact = int(needed.replace(",", "")) / (0.7 * int(said))
    assert said == replies and quotient == f"{exact:.1f}" and int(servers) == math.ceil(exact)


def test_alerts_and_panels_use_metrics_and_labels_that_exist(rules, panels):
    expressions = [rule["expr"] for rule in rules.values()] + [one for expressions in panels.values() for one in expressions]
    used = {name for expression in expressions for name in re.findall(r"\bs1_\w+", expression)}
    assert used <= set(SERIES)
    for name, matchers in (found for one in expressions for found in re.findall(r"(s1_\w+){([^}]*)}", one)):
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            assert set(values.split("|")) <= set(SERIES[name].labels[label]), (name, label)


def test_every_panel_is_an_expression_that_prometheus_understands(promtool, panels, tmp_path):
    """As the expressions of rules, which promtool checks."""
    recorded = [
        {"record": f"panel:{number}:{line}", "expr": one.replace("$__rate_interval", "1m")}
        for number, expressions in enumerate(panels.values())
        for line, one in enumerate(expressions)
    ]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in run(promtool, "check", "rules", tmp_path / "panels.yml")


def test_the_dashboard_is_what_its_program_builds(folder, monkeypatch):
    pytest.importorskip("grafana_foundation_sdk")
    spec = importlib.util.spec_from_file_location("s1_dashboard", folder / "dashboard.py")
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, program)  # its dataclasses look there
    spec.loader.exec_module(program)
    assert (folder / "dashboard.json").read_text() == program.text()
