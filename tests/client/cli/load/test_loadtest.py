# SPDX-License-Identifier: Apache-2.0
"""``s1 loadtest`` against the fake server: its record, its output and its exit codes."""

import pytest

from client.cli.running import call
from s1_client import EngineFailed, Overloaded
from s1_client.loadtest import _client_driver
from s1_client.loadtest._record import read
from s1_client.loadtest._scenario import shipped
from s1_client.testing import FakeServer

SCENARIO = """
about = "a test"
[[work]]
name = "thought"
prompts = "short"
options = { max_thinking_tokens = 8, num_ignore = 1, max_tokens = 4 }
[[load]]
concurrency = [1, 2]
num_requests = 3
max_seconds = 20
"""


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def loadtest(server, tmp_path):
    path = tmp_path / "quick.toml"
    path.write_text(SCENARIO)

    def run(*arguments, code=0, scenario=path, **rest):
        return call("loadtest", scenario, "--url", server.url, "--out", tmp_path / "out", *arguments, code=code, **rest)

    return run


def test_a_run_is_recorded_whole(loadtest, server, tmp_path):
    result = loadtest("--label", "first")
    record = read(tmp_path / "out/run.json")
    assert (record.label, record.scenario_name, record.driver, record.model, record.server_version) == (
        "first",
        "quick",
        "client",
        "s1",
        "2.51.0",
    )
    assert record.scenario["work"][0]["options"]["max_thinking_tokens"] == 8 and record.url == server.url
    assert [(level.value, len(level.requests)) for level in record.levels] == [(1.0, 3), (2.0, 3)]
    assert record.machine.num_cores > 0 and record.machine.memory_bytes > 2**20
    assert result.stdout.splitlines()[0].startswith("concurrency 1  3 of 3 answered in ")
    assert result.stdout.splitlines()[-1] == f"passed; record: {tmp_path / 'out/run.json'}"
    assert "will not contain the server's counters" in result.stderr or record.levels[0].server is not None


def test_options_change_the_load(loadtest, tmp_path):
    loadtest("--request-rate", "50,100", "--distribution", "poisson", "--requests", "2", "--seed", "7")
    record = read(tmp_path / "out/run.json")
    assert [(level.mode, level.value, level.distribution, len(level.requests)) for level in record.levels] == [
        ("request_rate", 50.0, "poisson", 2),
        ("request_rate", 100.0, "poisson", 2),
    ]
    assert record.scenario["seed"] == 7


def test_a_failed_request_makes_the_run_a_failure_and_is_recorded(loadtest, server, tmp_path):
    server.will_say(error=EngineFailed("out of blocks"))
    result = loadtest(code=1)
    assert "wrong: concurrency 1: work 'thought': 1 failed: EngineFailed: out of blocks" in result.stderr
    assert read(tmp_path / "out/run.json").levels[0].requests[0].end == "EngineFailed"


def test_a_run_that_is_stopped_keeps_the_levels_that_have_ended(loadtest, tmp_path, monkeypatch):
    """A level takes minutes: the error of a later one must not lose it, and the report must not call the rest passed."""
    of_stage = _client_driver.run_stage

    def stopped_at_second(servers, scenario, stage, on_end):
        if stage.number == 2:
            raise KeyboardInterrupt
        return of_stage(servers, scenario, stage, on_end)

    monkeypatch.setattr(_client_driver, "run_stage", stopped_at_second)
    assert f"stopped; {tmp_path / 'out/run.json'} has the levels that had ended" in loadtest(code=130).stderr
    assert [len(level.requests) for level in read(tmp_path / "out/run.json").levels] == [3]
    call("report", tmp_path / "out")
    assert "the run ended early: 1 of 2 levels were run" in (tmp_path / "out/report/report.html").read_text()


def test_a_scenario_may_allow_an_error(loadtest, server, tmp_path):
    (tmp_path / "busy.toml").write_text(f'allowed_errors = ["Overloaded"]\n{SCENARIO}')
    server.will_say(error=Overloaded("full"))
    loadtest(scenario=tmp_path / "busy.toml")


def test_a_level_without_a_reply_fails(loadtest, server, tmp_path):
    (tmp_path / "busy.toml").write_text(f'allowed_errors = ["Overloaded"]\n{SCENARIO}')
    server.says(error=Overloaded("full"))
    assert "wrong: concurrency 2: no request was answered" in loadtest(scenario=tmp_path / "busy.toml", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "s9"], 4, "model 's9' is not ready"),
        (["--url", "127.0.0.1:1"], 3, "failed to connect"),
        (["--concurrency", "one"], 2, "got 'one', allowed: integers separated by commas"),
        (["--concurrency", "9"], 2, "num_requests: got 3, allowed: at least the concurrency, 9"),
        (["--concurrency", "1", "--request-rate", "1"], 2, "give either --concurrency or --request-rate"),
        (["--metrics-url", "http://127.0.0.1:1/metrics"], 2, "--metrics-url: the metrics at http://127.0.0.1:1/metrics cannot be read: "),
        (["--metrics-url", "nowhere"], 2, "--metrics-url: the metrics at nowhere cannot be read: unknown url type"),
        (["--perf-analyzer", "/bin/true"], 2, "requires --driver perf_analyzer"),
        (["--driver", "perf_analyzer", "--perf-analyzer", "/nowhere"], 2, "perf_analyzer: no program at /nowhere"),
        (["--roofline", "/nowhere"], 2, "/nowhere"),
    ],
)
def test_invalid_arguments_are_refused_and_nothing_is_recorded(loadtest, tmp_path, arguments, code, message):
    assert message in loadtest(*arguments, code=code).stderr
    assert not (tmp_path / "out/run.json").exists()


@pytest.mark.parametrize(("name", "message"), [("smoky", "SCENARIO: got 'smoky', allowed: a TOML file, "), ("none.toml", "none.toml")])
def test_an_unknown_scenario_is_refused(loadtest, name, message):
    assert message in loadtest(scenario=name, code=2).stderr


def test_a_record_is_not_overwritten(loadtest, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run.json").write_text("kept")
    assert "already exists; give another --out" in loadtest(code=2).stderr
    assert (tmp_path / "out/run.json").read_text() == "kept"


def test_the_scenarios_are_listed():
    listed = call("loadtest", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(shipped())
