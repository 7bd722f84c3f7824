# SPDX-License-Identifier: Apache-2.0
"""``s1 loadtest --find-capacity`` against the fake server, its table, its record and its report."""

import dataclasses

import pytest

from client.cli.load.test_report import page_in
from client.cli.running import call
from client.loadtest.records import level, request, run
from s1_client import Overloaded
from s1_client.loadtest._capacity_summary import summarise_capacity
from s1_client.loadtest._objective import Objective
from s1_client.loadtest._record import read
from s1_client.loadtest._search import CapacitySearch
from s1_client.testing import FakeServer

SCENARIO = """
about = "a test"
[[work]]
name = "thought"
prompts = "short"
options = { max_thinking_tokens = 2, num_ignore = 0, max_tokens = 1 }
[[load]]
concurrency = [1]
num_requests = 3
max_seconds = 60
"""
QUICK = ("--percentile", "50", "--search", "1:4")
PATIENT = ("--max-latency-ms", "60000")


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def search(server, tmp_path):
    (tmp_path / "quick.toml").write_text(SCENARIO)

    def run(*arguments, code=0, kind="concurrency", scenario=tmp_path / "quick.toml"):
        return call("loadtest", scenario, "--url", server.url, "--out", tmp_path / "out", "--find-capacity", kind, *arguments, code=code)

    return run


def loads(path):
    return [level.value for level in read(path / "out/run.json").levels]


def test_a_search_that_never_fails_says_so_and_is_recorded(search, tmp_path):
    lines = search(*QUICK, *PATIENT).stdout.splitlines()
    assert lines[1] == "  holds" and "Objective: p50 request latency <= 60000 ms, no request rejected, no request failed" in lines
    assert [line.split()[0] for line in lines if line.endswith(" holds") and line != "  holds"] == ["1", "2", "4", "4"]
    assert "The objective holds at the largest load of the search, concurrency 4; the capacity may be larger." in lines
    assert loads(tmp_path) == [1, 2, 4, 4]
    record = read(tmp_path / "out/run.json")
    assert record.search.objective.request_latency_ms == 60000 and record.scenario["load"][0]["num_requests"] == 5


def test_a_search_that_fails_at_once_ends_with_code_1(search, server):
    server.says(error=Overloaded("full"))
    result = search(*QUICK, code=1)
    assert "  fails: 5 of 5 requests rejected, allowed: none" in result.stdout.splitlines()
    assert "The objective does not hold at the least load of the search, concurrency 1." in result.stdout
    assert "  queue: 5 of 5 requests were rejected" in result.stdout


def test_an_incorrect_reply_is_a_fault_and_a_failed_request_is_none(search, server):
    server.will_say(error=Overloaded("full"))
    result = search(*QUICK, "--max-rejected", "50")
    assert "passed; record:" in result.stdout and "wrong:" not in result.stderr


def test_the_same_command_continues_an_interrupted_search(search, server, tmp_path):
    """And a search that has ended, or another one, is left as it is."""
    path = tmp_path / "out/run.json"
    search(*QUICK, *PATIENT)
    whole = read(path)
    path.write_text(dataclasses.replace(whole, levels=whole.levels[:2]).to_json())
    server.requests.clear()
    result = search(*QUICK, *PATIENT)
    assert f"{path}: continues after 2 levels" in result.stderr and loads(tmp_path) == [1, 2, 4, 4]
    assert len(server.requests) == 2 * 12 and read(path).started_at == whole.started_at
    assert "already exists, a search that has ended; give another --out" in search(*QUICK, *PATIENT, code=2).stderr
    path.write_text(dataclasses.replace(whole, levels=whole.levels[:2]).to_json())
    assert "already exists, the record of another run" in search(*QUICK, "--max-latency-ms", "50000", code=2).stderr
    with FakeServer() as other:
        assert "already exists, the record of another run" in search(*QUICK, *PATIENT, "--replica", other.url, code=2).stderr
    assert loads(tmp_path) == [1, 2]


def test_a_search_by_rate(search, tmp_path):
    result = search("--percentile", "50", "--search", "20:40", *PATIENT, "--distribution", "poisson", kind="request-rate")
    assert "largest load of the search, 40 requests/s" in result.stdout
    record = read(tmp_path / "out/run.json")
    assert [(level.mode, level.distribution) for level in record.levels] == [("request_rate", "poisson")] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--search", "4"), "got '4', allowed: MIN:MAX, such as 1:64"),
        (("--search", "4:2"), "--search: got 4:2, allowed: MIN:MAX with 0 < MIN < MAX"),
        (("--search", "0.5:2"), "--search: got 0.5:2, allowed: integers >= 1 for a concurrency"),
        (("--percentile", "100"), "--percentile: got 100, allowed: 50 to 99.9"),
        (("--precision", "0"), "--precision: got 0, allowed: 1 to 50"),
        (("--max-ttft-ms", "0"), "--max-ttft-ms: got 0, allowed: a number > 0"),
        (("--max-ttft-ms", "9", "--max-failed", "9"), "--max-failed: got 9, allowed: 0 to 5"),
        (("--requests", "58"), "--requests: got 58, allowed: at least 59, to judge p95"),
        (("--concurrency", "2"), "--concurrency: not allowed with --find-capacity, which takes --search MIN:MAX"),
        (("--request-rate", "2"), "--request-rate: not allowed with --find-capacity"),
        (("--driver", "perf_analyzer"), "--find-capacity requires --driver client"),
    ],
)
def test_invalid_arguments_are_refused_and_nothing_is_recorded(search, tmp_path, arguments, message):
    assert message in search(*arguments, code=2).stderr
    assert not (tmp_path / "out").exists()


def test_a_rate_whose_level_lasts_too_long_is_refused(search):
    message = "--max-seconds: got 60, allowed: at least 590 for 59 requests at 0.1/s"
    assert message in search(kind="request-rate", code=2).stderr


@pytest.mark.parametrize("name", ["cancels", "overload"])
def test_a_scenario_that_cannot_be_judged_is_refused(search, name):
    assert "capacity search" in search(scenario=name, code=2).stderr


@pytest.mark.parametrize(
    "option", ["--max-ttft-ms", "--max-answer-ms", "--max-latency-ms", "--percentile", "--max-rejected", "--precision"]
)
def test_options_of_the_search_need_it(server, option):
    assert f"{option} requires --find-capacity" in call("loadtest", "smoke", "--url", server.url, option, "50", code=2).stderr


def searched():
    """A record of a search: it holds at 1 and 2, fails at 4 and 3, and holds again at 2."""
    objective = Objective(percentile=50.0, time_to_first_token_ms=50.0)
    late, full = [request(time_to_first_token_ms=90.0)] * 8, [request(end="Overloaded", message="full", time_to_first_token_ms=None)]
    of = {1: [request()] * 8, 2: [request()] * 8, 3: [*late, *full], 4: late}
    search = CapacitySearch(mode="concurrency", least=1.0, most=8.0, objective=objective)
    return run(*(level(*of[load], value=float(load)) for load in (1, 2, 4, 3, 2)), search=search)


def test_the_report_shows_the_search(tmp_path):
    """A request that failed above the capacity does not make the run fail."""
    (tmp_path / "run.json").write_text(searched().to_json())
    assert "passed its checks" in call("report", tmp_path).stdout
    text = page_in(tmp_path / "report").text
    assert "Capacity: concurrency 2 (2 levels held); it fails at concurrency 3." in text
    assert "1 requests failed in the levels of the search" in text
    assert "p50 time to first token: 90 ms, allowed: 50 ms" in text
    assert "queue : 1 of 9 requests were rejected" in text
    assert (tmp_path / "report/capacity.png").exists()


def test_the_record_of_a_search_is_read_as_it_was_written(tmp_path):
    (tmp_path / "run.json").write_text(searched().to_json())
    assert read(tmp_path / "run.json") == searched()
    assert summarise_capacity(run(level(request()))) is None
