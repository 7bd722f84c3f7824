# SPDX-License-Identifier: Apache-2.0
"""The input of perf_analyzer and reading its export. (The program itself: tests/server/test_loadtest.py.)"""

import json
from itertools import islice
from pathlib import Path

import pytest

from client.loadtest.scenarios import at_rate, scenario
from s1_client import TLS, Done, Injected, ThinkingDelta
from s1_client._settings import Settings
from s1_client.loadtest import _perf_analyzer
from s1_client.loadtest._jobs import jobs
from s1_client.loadtest._perf_analyzer import Unsuitable, check, command, find, input_data, read_export, run_stage
from s1_client.loadtest._scenario import read, shipped

FAKE = Path(__file__).with_name("fake_perf_analyzer")
SETTINGS = Settings(address="127.0.0.1:1")
RESULT = {
    "request_id": "1",
    "usage": {},
    "rounds": [],
    "effective": {},
    "total_ms": 1.0,
    "stop_word": None,
    "engine_time_to_first_token_ms": None,
    "finish_reason": {"thinking": "off", "answer": "stop"},
}
USAGE = "num_prompt_tokens num_output_ids num_thinking_tokens num_thinking_sampled num_thinking_injected num_grace_tokens"
RESULT["usage"] = dict.fromkeys(f"{USAGE} num_answer_tokens num_answer_injected num_terminators num_dropped num_ignored".split(), 0)


def steps(what, number=3):
    return list(islice(jobs(what, what.stages[0]), number))


def response(event, ids="", **texts):
    empty = {"event": event, "index": 0, "output_ids": ids, "thinking_output": "", "text_output": "", "round": "", "result": ""}
    return {**empty, **texts}


def exported(path, *prompts, responses=None):
    """Write an export of requests with these prompts, 1 ms apart, with responses 1 ms apart."""
    last = [response("done", result=json.dumps(RESULT))]
    outputs = last if responses is None else responses
    requests = [
        {
            "timestamp": 10**18 + number * 10**6,
            "request_inputs": {"text_input": prompt},
            "response_timestamps": [10**18 + (number + later) * 10**6 for later in range(1, len(outputs) + 1)],
            "response_outputs": outputs,
        }
        for number, prompt in enumerate(prompts)
    ]
    path.write_text(json.dumps({"experiments": [{"experiment": {}, "requests": requests}]}))
    return path


def test_a_step_has_every_tensor_and_lists_their_shape():
    options = {"ignore_str": ["Wait", "Hmm"], "seed": 2**63, "stop_words": "END", "top_p": 0.5}
    what = scenario(work={"options": options, "stream": False})
    (step,) = input_data(steps(what, 1), 20.0)["data"]
    assert step.pop("ignore_str") == {"content": ["Wait", "Hmm"], "shape": [1, 2]}
    prompt = step.pop("text_input")
    assert prompt == [steps(what, 1)[0].prompt]
    assert step == {"stream": [False], "timeout_ms": [20000], "seed": [2**63], "stop_words": ["END"], "top_p": [0.5]}


def test_a_level_is_one_bounded_run():
    what = scenario(load={"num_warmup": 1})
    line = " ".join(command(Path("pa"), SETTINGS, what.stages[0], Path("i"), Path("e")))
    assert line == (
        "pa -m s1 -i grpc -u 127.0.0.1:1 --streaming --async --concurrency-range=2 --request-count=4 --warmup-request-count=1 "
        "--input-data=i --profile-export-file=e"
    )
    what = scenario(load=at_rate(0.5, distribution="poisson"))
    secure = Settings(address="a:1", tls=TLS(ca_file="ca", cert_file="cert", key_file="key"))
    line = " ".join(command(Path("pa"), secure, what.stages[0], Path("i"), Path("e")))
    assert "--request-rate-range=0.5 --request-distribution=poisson --request-count=4 --input-data" in line
    assert line.endswith(
        "--ssl-grpc-use-ssl --ssl-grpc-root-certifications-file=ca --ssl-grpc-certificate-chain-file=cert --ssl-grpc-private-key-file=key"
    )


def test_an_export_is_matched_by_prompts_and_its_number_formats_are_read(tmp_path):
    asked = steps(scenario())
    responses = [
        response("injected", [5, 6], thinking_output="I need"),
        response("thinking", 7, thinking_output=" to"),
        response("done", result=json.dumps(RESULT)),
        {**response(""), "output_ids": 1741281169},  # an empty last response, with what lay in memory
    ]
    seen = read_export(exported(tmp_path / "e", asked[2].prompt, asked[0].prompt, responses=responses), asked)
    assert [one.job.number for one in seen] == [2, 0]
    assert [round(one.sent_s, 6) for one in seen] == [0, 0.001]
    assert [type(event) for _, event in seen[1].messages] == [Injected, ThinkingDelta, Done]
    assert [event.ids for _, event in seen[1].messages] == [(5, 6), (7,), ()]
    assert [round(at, 6) for at, _ in seen[1].messages] == [0.002, 0.003, 0.004]


def test_a_response_of_an_unknown_kind_fails_its_request(tmp_path):
    asked = steps(scenario())
    (one,) = read_export(exported(tmp_path / "e", asked[0].prompt, responses=[response("dreaming")]), asked)
    assert "dreaming" in str(one.error)


@pytest.fixture
def run(tmp_path, monkeypatch):
    def hold(does, **values):
        monkeypatch.setenv("DOES", str(does))
        what = scenario(**values)
        return run_stage(FAKE, SETTINGS, what, what.stages[0], tmp_path / "level-1")

    return hold


def test_the_first_failed_request_ends_the_run_and_is_a_problem(run):
    attempt = run("fail")
    (problem,) = attempt.problems
    assert attempt.seen == [] and "code 99 (a request failed" in problem and "OVERLOADED: 2 of 2 replies run" in problem


def test_a_run_that_hangs_is_killed(run):
    (problem,) = run("hang", load={"max_seconds": 0.1}, deadline_s=0.2).problems
    assert "did not end within 0.3 s; it was killed" in problem


def test_success_without_an_export_is_no_success(run):
    assert "left no export" in run("silent").problems[0]


def test_requests_missing_in_the_export_are_a_problem(run, tmp_path):
    attempt = run(exported(tmp_path / "e", steps(scenario())[0].prompt))
    assert len(attempt.seen) == 1 and attempt.problems == ("1 of 4 requests are in the export",)


def test_an_export_that_cannot_be_read_is_a_problem(run, tmp_path):
    (tmp_path / "broken").write_text("")
    assert "cannot be read" in run(tmp_path / "broken").problems[0]


def test_an_export_of_an_earlier_run_is_not_read(run, tmp_path):
    exported(tmp_path / "level-1.export.json", steps(scenario())[0].prompt)
    assert run("silent").seen == []


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ({"work": {"cancel_after_tokens": 1}}, SETTINGS, "cannot send commands to a running request"),
        ({"allowed_errors": ["Overloaded"]}, SETTINGS, "stops at the first failed request"),
        ({}, Settings(address="a:1", metadata=(("authorization", "x"),)), "secrets only on its command line"),
        ({}, Settings(address="a:1", tenant="ann"), "tenant: got 'ann' .*cannot send"),
    ],
)
def test_unsupported_scenarios_are_refused_before_the_start(values, settings, message):
    with pytest.raises(Unsuitable, match=f"{message}.*--driver client"):
        check(scenario(**values), settings)


def test_at_a_rate_it_needs_at_least_the_requests_of_a_second():
    with pytest.raises(Unsuitable, match="num_requests: got 4, allowed for perf_analyzer: at least the rate, 5"):
        check(scenario(load=at_rate(5)), SETTINGS)
    with pytest.raises(Unsuitable, match="num_warmup: got 1, allowed for perf_analyzer: 0, or at least the rate, 4"):
        check(scenario(load=at_rate(4, num_warmup=1)), SETTINGS)
    check(scenario(load=at_rate(4, num_warmup=4)), SETTINGS)


def test_it_can_run_shipped_scenarios_without_commands_and_errors():
    suited = [name for name, path in shipped().items() if name not in ("answer-now", "cancels", "overload")]
    for name in suited:
        check(read(shipped()[name]), SETTINGS)


def test_the_program_is_searched_and_its_absence_names_the_installation(tmp_path, monkeypatch):
    assert find(str(FAKE)) == FAKE and _perf_analyzer.version(FAKE) == "9.9.9 (commit fake)"
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsuitable, match="it is not on PATH.*26.07-py3-sdk.*build/perf_analyzer.py"):
        find(None)
    with pytest.raises(Unsuitable, match="/bin/true: does not run as perf_analyzer"):
        find("/bin/true")
