# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes a real server: every panel of the dashboard shows something, and no alert fires."""

import json
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress

import pytest
import yaml

from budgetforce.launcher.ports import choose_ports
from deploy.test_monitoring import prometheus_programs
from s1_client import Cancelled, ThinkingDelta
from server.waiting import wait_until

END, EOS = 2, 0


@contextmanager
def prometheus(root, folder, target):
    """Scrape ``target`` every second with the shipped alerts; a function that queries an expression."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(root / "build/monitoring/alerts.yml")],
        "scrape_configs": [{"job_name": "s1", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"127.0.0.1:{choose_ports(http=0, grpc=0, metrics=0).http}"
    flags = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={url}"]

    def query(expression):
        with urllib.request.urlopen(f"http://{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=10) as response:
            return json.load(response)["data"]["result"]

    with (folder / "log").open("wb") as log, subprocess.Popen([prometheus_programs(root) / "prometheus", *flags], stderr=log) as process:
        try:
            yield query
        finally:
            process.terminate()


def answers(query, expression):
    try:
        return [one for one in query(expression) if one["value"][1] != "NaN"]
    except OSError:  # it has not started yet
        return []


@pytest.fixture
def load(client, over_grpc, scripts, a):
    """A reply with a refused end, one that is cancelled, and one of an engine that reports its KV cache."""
    script, slow = scripts.write([a, a, END], [a, a, END], [a, a, a, EOS], delay_ms=5), scripts.write([a] * 3000, delay_ms=20)

    def run():
        over_grpc.think(script.question, num_ignore=1, max_tokens=5)
        client.think("How many r in raspberry")
        stream = over_grpc.stream(slow.question, max_thinking_tokens=3000)
        while not isinstance(next(stream), ThinkingDelta):
            pass
        stream.cancel()
        with pytest.raises(Cancelled):
            list(stream)

    return run


def test_every_panel_shows_something_and_no_alert_fires(root, triton, load, tmp_path):
    """But for those of this server's models without an engine or a canary."""
    shipped = json.loads((root / "build/monitoring/dashboard.json").read_text())
    expressions = {one["title"]: [target["expr"] for target in one["targets"]] for one in shipped["panels"] if one["type"] != "row"}
    with prometheus(root, tmp_path, f"127.0.0.1:{triton.ports.metrics}") as query:
        wait_until(lambda: answers(query, "s1_requests_open"), seconds=30)
        load()
        missing = {title: {one.replace("$__rate_interval", "1m") for one in lines} for title, lines in expressions.items()}

        def all_answer():
            for lines in missing.values():
                lines -= {one for one in lines if answers(query, one)}
            return not any(missing.values())

        with suppress(AssertionError):  # it is said below which panels are empty
            wait_until(all_answer, seconds=30)
        assert not {title: lines for title, lines in missing.items() if lines}
        assert not [alert["metric"]["alertname"] for alert in query('ALERTS{alertname!~"S1EngineSilent|S1Fails", alertstate="firing"}')]
