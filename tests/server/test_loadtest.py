# SPDX-License-Identifier: Apache-2.0
"""Load tests of the real server: NVIDIA's perf_analyzer over gRPC streams, and our own driver, on the same scenarios."""

import json
import subprocess
import sys
from collections import Counter
from itertools import groupby

import pytest

from client.cli.running import call
from s1_client.loadtest._capacity_summary import summarise_capacity
from s1_client.loadtest._record import read

SMALL = """
about = "Small budgets."
deadline_s = 60
[[work]]
name = "thought"
share = 2
prompts = "short"
options = { max_thinking_tokens = 16, num_ignore = 1, max_tokens = 4, temperature = 0.0 }
[[work]]
name = "joined"
prompts = "short"
stream = false
options = { max_thinking_tokens = 12, num_ignore = 0, max_tokens = 4, temperature = 0.0 }
[[load]]
concurrency = [1]
num_requests = 6
num_warmup = 1
max_seconds = 60
"""


@pytest.fixture(scope="session")
def perf_analyzer(root):
    """NVIDIA's program, made from packages if it is not there yet."""
    script = root / "build/perf_analyzer.py"
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    if made.returncode == 2:
        pytest.skip(made.stderr)
    assert made.returncode == 0, made.stderr
    return root / ".s1/bin/perf_analyzer"


@pytest.fixture
def loadtest(triton, tmp_path):
    """Run a scenario; its record."""

    def run(scenario, *arguments, program=None, model="s1", code=0):
        path, out = tmp_path / "small.toml", tmp_path / f"out-{program is not None}"
        path.write_text(scenario)
        driver = ["--driver", "perf_analyzer", "--perf-analyzer", program] if program else []
        metrics = f"http://127.0.0.1:{triton.ports.metrics}/metrics"
        call(
            "loadtest",
            path,
            "--url",
            triton.grpc_url,
            "--model",
            model,
            "--metrics-url",
            metrics,
            "--out",
            out,
            *driver,
            *arguments,
            code=code,
        )
        return read(out / "run.json")

    return run


def counts(record):
    """What a level's requests were made of, by their prompts."""
    return {
        request.prompt: (request.work, request.num_thinking_tokens, request.num_answer_tokens, request.num_rounds, request.thinking_end)
        for level in record.levels
        for request in level.requests
    }


def check_times(request):
    """What is so however slow the machine is."""
    assert request.request_latency_ms > 0
    if request.work == "joined":
        assert (request.time_to_first_token_ms, request.num_messages) == (None, 1)
        return
    assert request.time_to_first_token_ms <= request.time_to_first_answer_token_ms <= request.request_latency_ms
    gaps = [*request.inter_token_latencies_ms.thinking, *request.inter_token_latencies_ms.answer, *request.ignore_costs_ms]
    assert request.time_to_first_token_ms + sum(gaps) + (request.answer_gap_ms or 0) <= request.request_latency_ms + 1e-3
    assert len(request.ignore_costs_ms) <= request.num_ignored <= 1


@pytest.fixture(scope="module")
def exercises(scripts_folder, tokenizer):
    """What the scripted engine says to a load test: five tokens and an end, which may be refused; then more, till it is cut."""
    (a,) = tokenizer.encode("a")
    key, calls = tokenizer.encode("Exercise"), [[a] * 5 + [2], [a] * 40, [a, 0]]
    (scripts_folder / "exercises.json").write_text(json.dumps({"key": key, "calls": calls, "delay_ms": 30}))


@pytest.mark.usefixtures("exercises")
def test_both_drivers_find_the_same_and_nothing_wrong(loadtest, perf_analyzer):
    """Tokens, rounds and ends exactly; the times of each request add up, and one driver's level takes less than 20 times the other's."""
    ours, theirs = loadtest(SMALL, model="s1_scripted"), loadtest(SMALL, program=perf_analyzer, model="s1_scripted")
    assert (ours.driver, theirs.driver) == ("client", "perf_analyzer") and ours.scenario_hash == theirs.scenario_hash
    assert counts(ours) == counts(theirs) and set(counts(ours).values()) == {
        ("thought", 16, 1, 3, "budget"),
        ("joined", 10, 4, 2, "natural"),
    }
    (one,), (other,) = ours.levels, theirs.levels
    for level in one, other:
        assert level.problems == () and [request.checks for request in level.requests] == [()] * 6
        assert level.server['s1_requests_total{end="done",model_instance="s1_scripted_0_0"}'] > 0  # 7, if the metrics are fresh
        for request in level.requests:
            check_times(request)
    assert 1 / 20 < one.duration_s / other.duration_s < 20
    assert ours.engine["engine_model"] == theirs.engine["engine_model"] == "scripted_llm"


def test_perf_analyzer_drives_a_sweep_over_the_real_model(loadtest, perf_analyzer):
    sweep = loadtest(SMALL, "--concurrency", "2,4", "--requests", "4", program=perf_analyzer)
    assert [(level.value, sorted(request.prompt for request in level.requests)) for level in sweep.levels] == [
        (2.0, [0, 1, 2, 3]),
        (4.0, [0, 1, 2, 3]),
    ]
    for request in [request for level in sweep.levels for request in level.requests]:
        assert request.checks == ()
        check_times(request)


def test_perf_analyzer_at_a_rate(loadtest, perf_analyzer):
    small = SMALL.replace("num_warmup = 1", "num_warmup = 0")
    (level,) = loadtest(small, "--request-rate", "4", "--distribution", "poisson", "--requests", "4", program=perf_analyzer).levels
    assert (level.mode, level.distribution, len(level.requests)) == ("request_rate", "poisson", 4)
    assert [request.checks for request in level.requests] == [()] * 4


def test_a_request_that_fails_ends_perf_analyzers_run_and_ours_goes_on(loadtest, perf_analyzer):
    """A budget that the context cannot hold is refused by the server."""
    too_much = SMALL.replace("max_thinking_tokens = 12", "max_thinking_tokens = 2000000")
    (theirs,) = loadtest(too_much, program=perf_analyzer, code=1).levels
    assert theirs.requests == () and "perf_analyzer ended with code" in theirs.problems[0] and "max_thinking_tokens" in theirs.problems[0]
    (ours,) = loadtest(too_much, "--requests", "3", code=1).levels
    assert [request.end for request in ours.requests] == ["done", "InvalidRequest", "done"]


def test_nvidias_own_input_works_on_s1_unchanged(triton, perf_analyzer, tmp_path):
    """What genai-perf 0.0.16 writes for --backend tensorrtllm, and how it calls perf_analyzer."""
    step = {"model": "s1", "text_input": ["Name a river"], "max_tokens": [4], "exclude_input_in_output": [True], "stream": [True]}
    (tmp_path / "inputs.json").write_text(json.dumps({"data": [{**step, "max_thinking_tokens": [8]}]}))
    command = [perf_analyzer, "-m", "s1", "--async", "--stability-percentage", "999", "--request-count", "2", "-i", "grpc", "--streaming"]
    command += [
        "--shape",
        "max_tokens:1",
        "--shape",
        "text_input:1",
        "-u",
        triton.grpc_url,
        "--concurrency-range",
        "1",
        "--service-kind",
        "triton",
    ]
    command += ["--input-data", tmp_path / "inputs.json", "--profile-export-file", tmp_path / "export.json"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    (experiment,) = json.loads((tmp_path / "export.json").read_text())["experiments"]
    assert len(experiment["requests"]) == 2
    for request in experiment["requests"]:
        assert "".join(response["text_output"] for response in request["response_outputs"]).startswith("Final Answer:")


BUSY = """
about = "Everybody at once, and two thirds of them lose patience."
allowed_errors = ["Overloaded", "Cancelled"]
deadline_s = 60
[[work]]
name = "stays"
prompts = "short"
options = { max_thinking_tokens = 60, num_ignore = 0, max_tokens = 4 }
[[work]]
name = "leaves"
prompts = "short"
options = { max_thinking_tokens = 400, min_thinking_tokens = 400, max_tokens = 4 }
cancel_after_tokens = 4
[[work]]
name = "hurries"
prompts = "short"
options = { max_thinking_tokens = 400, min_thinking_tokens = 400, max_tokens = 4 }
answer_now_after_tokens = 4
[[load]]
concurrency = [3]
num_requests = 9
max_seconds = 60
"""


def test_our_driver_cancels_and_hurries_while_others_go_on(loadtest):
    (level,) = loadtest(BUSY).levels
    by_work = {work: list(requests) for work, requests in groupby(sorted(level.requests, key=lambda one: one.work), lambda one: one.work)}
    assert [one.end for one in by_work["leaves"]] == ["Cancelled"] * 3
    assert [one.thinking_end for one in by_work["hurries"]] == ["answer_now"] * 3
    assert [one.end for one in by_work["stays"]] == ["done"] * 3
    assert not any(one.checks for one in level.requests)
    assert all(4 <= one.num_thinking_tokens < 400 for one in by_work["leaves"] + by_work["hurries"])


@pytest.mark.usefixtures("exercises")
def test_our_driver_sees_an_overloaded_server_turn_requests_away(loadtest):
    """Two run and one waits; of eight at once at least those are answered, and others are refused."""
    at_once = BUSY.partition('[[work]]\nname = "leaves"')[0] + "[[load]]\nconcurrency = [8]\nnum_requests = 8\nmax_seconds = 60\n"
    (level,) = loadtest(at_once, model="s1_small").levels
    ends = [request.end for request in level.requests]
    assert set(ends) == {"Overloaded", "done"} and len(ends) == 8 and ends.count("done") >= 3
    assert not any(request.checks for request in level.requests)


QUICK = BUSY.partition('[[work]]\nname = "leaves"')[0].replace('allowed_errors = ["Overloaded", "Cancelled"]\n', "")
AT_ONCE = "[[load]]\nconcurrency = [1]\nnum_requests = 1\nmax_seconds = 60\n"


@pytest.mark.usefixtures("exercises")
def test_the_capacity_of_a_server_with_two_places_and_one_that_waits_is_three_clients(loadtest):
    """Of four clients at least one is always rejected, and comes again at once; the limit is told from the server's own gauges."""
    search = ("--find-capacity", "concurrency", "--search", "2:8", "--percentile", "50", "--max-rejected", "20")
    record = loadtest(QUICK + AT_ONCE, *search, model="s1_small")
    found = summarise_capacity(record)
    assert (found.capacity, found.failed_at, found.is_finished) == (3, 4, True)
    assert [(trial.load, trial.holds) for trial in found.trials] == [(2, True), (4, False), (3, True), (3, True)]
    assert found.limits[0].kind == "queue" and not any(request.checks for level in record.levels for request in level.requests)
    waiting = 's1_requests_waiting_max{model_instance="s1_small_0_0"}'
    assert all(level.gauges[waiting].highest == 1 for level in record.levels if level.gauges)


def test_several_servers_are_each_tried(loadtest, triton):
    """The same server by two of its names, and each request by one of them."""
    other = triton.grpc_url.replace("127.0.0.1", "localhost")
    (level,) = loadtest(SMALL, "--replica", other).levels
    assert Counter(request.replica for request in level.requests) == {triton.grpc_url: 3, other: 3}
    assert [request.checks for request in level.requests] == [()] * 6
