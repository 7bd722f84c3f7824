# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong behind or around a request: one end, with a stable code, and the server goes on."""

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from budgetforce.launcher import triton_files
from s1_client import (
    AnswerDelta,
    Client,
    DeadlineExceeded,
    EngineFailed,
    Injected,
    InvalidRequest,
    S1Error,
    ServerNotReady,
    ThinkingDelta,
)
from server import waiting
from server.conftest import scripted_server
from server.test_soak import ask_for

wait_until = partial(waiting.wait_until, seconds=15)

END, EOS = 2, 0


@pytest.fixture
def goes_on(scripts, a):
    """The server answers as if nothing had been."""

    def check(client):
        reply = client.think(scripts.write([END], [a, EOS]).question, num_ignore=0, max_tokens=5)
        assert reply.answer == "Final Answer:a"

    return check


# --- the engine ----------------------------------------------------------------------------------


def test_an_engine_that_refuses_a_later_round_ends_the_request_there(over_grpc, scripts, a, goes_on):
    script = scripts.write([a, a, END], [a, END], [a, EOS], fail_calls={"1": "out of blocks"})
    with pytest.raises(EngineFailed, match="out of blocks") as failed:
        over_grpc.think(script.question, num_ignore=1, request_id="mine")
    error = failed.value
    assert (error.retryable, error.request_id, error.so_far[0]["num_rounds"]) == (False, "mine", 2)
    assert error.so_far[0]["usage"]["num_thinking_sampled"] == 2
    goes_on(over_grpc)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"empty": True}, "ended after 0 of"),
        ({"wrong_length": 7}, "sequence_length 7 for"),
        ({"wrong_length": -1}, "sequence_length -1 for"),
    ],
)
def test_an_engine_that_breaks_its_contract_is_told_of(scripted, scripts, a, goes_on, fault, words):
    with pytest.raises(EngineFailed, match=f"broke its contract: .*{words}") as failed:
        scripted.think(scripts.write([a, a, END], **fault).question, num_ignore=0)
    assert not failed.value.retryable
    goes_on(scripted)


def test_an_id_below_zero_is_no_id(scripted, scripts, a, goes_on):
    with pytest.raises(EngineFailed, match="-5 is no id"):
        scripted.think(scripts.write([a, -5, END]).question, num_ignore=0)
    goes_on(scripted)


@pytest.mark.parametrize("fault", [{"late_final_ms": 300}, {"double_final": True}])
def test_a_late_or_second_end_changes_nothing(scripted, scripts, a, fault):
    reply = scripted.think(scripts.write([a, a, END], [a, EOS], **fault).question, num_ignore=0, max_tokens=5)
    assert (reply.answer, reply.result.usage.num_thinking_sampled) == ("Final Answer:a", 2)


def test_an_engine_that_stalls_beyond_the_deadline_is_cancelled(over_grpc, scripts, a, goes_on):
    script = scripts.write([a] * 50, stall_after=5)
    with pytest.raises(DeadlineExceeded, match="timeout_ms 700 was over before the reply was complete") as failed:
        over_grpc.think(script.question, timeout_ms=700)
    assert failed.value.so_far[0]["usage"]["num_thinking_sampled"] == 5
    wait_until(lambda: script.notes("cancelled") or script.notes("stopped"))
    goes_on(over_grpc)


def test_near_the_deadline_the_rest_can_go_to_the_answer(over_grpc, scripts, a):
    """However long the thought would have been, and even if the engine had stalled over it."""
    for fault in ({"delay_ms": 5}, {"stall_after": 5}):
        script = scripts.write([a] * 4000, [a, EOS], only_once=True, **fault)
        reply = over_grpc.think(script.question, timeout_ms=3000, on_timeout="answer", max_thinking_tokens=4000, max_tokens=5)
        assert (reply.result.thinking_end, reply.result.answer_end) == ("deadline", "stop")
        assert reply.answer.endswith("a")


def test_an_answer_that_is_not_ready_at_the_deadline_ends_with_what_it_has(over_grpc, scripts, a):
    script = scripts.write([END], [a] * 50, stall_after=3)
    reply = over_grpc.think(script.question, timeout_ms=700, on_timeout="answer", num_ignore=0, max_tokens=50)
    assert (reply.result.answer_end, reply.answer) == ("deadline", "Final Answer:aaa")


def test_a_deadline_that_makes_no_sense_is_refused(over_grpc):
    with pytest.raises(InvalidRequest, match="timeout_ms"):
        over_grpc.think("hi", timeout_ms=0)


# --- the client -----------------------------------------------------------------------------------

PHASES = {  # when the client goes, with a script whose every call takes a while
    "before the first token": ({"first_delay_ms": 1000}, lambda event: True),
    "in the thought": ({"delay_ms": 5}, lambda event: isinstance(event, ThinkingDelta)),
    "between rounds": ({"delay_ms": 5}, lambda event: isinstance(event, Injected) and event.text == "Wait"),
    "in the answer": ({"delay_ms": 5}, lambda event: isinstance(event, AnswerDelta)),
}
LINES = {"in the thought": 3000, "before the first token": 3000, "between rounds": 3, "in the answer": 3}


def num_ended(triton, model, end):
    """How many requests the counters say have ended that way, in all processes of a model."""
    with urllib.request.urlopen(f"http://{triton.ports.host}:{triton.ports.metrics}/metrics", timeout=5) as response:
        page = response.read().decode().splitlines()
    lines = [line for line in page if line.startswith("s1_requests_total{") and f'end="{end}",model_instance="{model}_0_' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def leave(stream, script):
    """Close the stream when the engine is at work; how long the engine then went on."""
    wait_until(lambda: script.notes("begun"))
    stream.close()
    gone = time.monotonic()
    wait_until(lambda: len(script.notes("begun")) == sum(len(script.notes(end)) for end in ("cancelled", "stopped", "ended")))
    return [note["at"] - gone for note in script.notes("cancelled") + script.notes("stopped")]


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_goes_in_any_phase_stops_the_engine(scripted, over_bls, triton, scripts, a, goes_on, phase):
    """Within a fifth of a second, most times of five; the counters know. A BLS call says nothing, and hears
    nothing, before its first token.
    """
    fault, has_come = PHASES[phase]
    num_ignore = int(phase == "between rounds")
    before, delays = num_ended(triton, scripted._settings.model, "CANCELLED"), []
    for _ in range(5):
        script = scripts.write([a] * LINES[phase] + [END], [a] * 3000, **fault)
        stream = scripted.stream(script.question, num_ignore=num_ignore, max_thinking_tokens=3500, max_tokens=3000)
        while not has_come(next(stream)):
            pass
        delays += leave(stream, script)
    if (scripted, phase) != (over_bls, "before the first token"):
        assert sorted(delays)[len(delays) // 2] < 0.2, delays
    wait_until(lambda: num_ended(triton, scripted._settings.model, "CANCELLED") == before + 5)
    goes_on(scripted)


def test_two_clients_with_the_same_request_id_are_two_requests(scripted, scripts, a):
    script = scripts.write([a] * 30 + [END], [a, EOS], delay_ms=2)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(scripted.think, script.question, request_id="same", num_ignore=0, max_tokens=5) for _ in range(2)]
        replies = [one.result() for one in asked]
    assert {(reply.answer, reply.result.request_id) for reply in replies} == {("Final Answer:a", "same")}


# --- the server -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cramped(root, scripts_folder, tmp_path_factory):
    """A server whose shared memory cannot grow beyond 2 MB: files can not, and those that would do not kill it."""
    folder, found = tmp_path_factory.mktemp("cramped"), triton_files.find()
    binary = folder / "tritonserver"
    binary.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -f 2048\nexec {found.binary} \"$@\"\n")
    binary.chmod(0o755)
    server = scripted_server(root, scripts_folder, folder / "repository", folder / "triton.log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_files, "find", lambda: replace(found, binary=str(binary)))
        with server:
            patch.undo()
            yield server


def test_shared_memory_that_is_exhausted_fails_the_request_alone(cramped, scripts, a, goes_on):
    with Client(cramped.grpc_url, model="s1_scripted") as client:
        for _ in range(3):
            with pytest.raises(S1Error, match="shared memory"):
                client.think("x" * 20_000_000)
        goes_on(client)


def test_a_reply_that_shared_memory_cannot_hold_ends_in_an_error(cramped, scripts, a, goes_on):
    """Each sample's result repeats the stop words, and 64 samples that are not streamed are one response."""
    script = scripts.write([END], [a, EOS])
    fields = {"num_samples": 64, "temperature": 1.0, "num_ignore": 0, "max_tokens": 5, "stream": False}
    words = {"stop_words": ["z" * 15_000], "ignore_str": ["y" * 15_000]}
    with grpc.insecure_channel(cramped.grpc_url) as channel, Client(cramped.grpc_url, model="s1_scripted") as client:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        (response,) = stub.ModelStreamInfer(iter([ask_for(text_input=script.question, **fields, **words)]), timeout=60)
        assert response.error_message.startswith("INTERNAL: a response could not be sent: ")
        goes_on(client)


@pytest.mark.parametrize("drain_s", [20, 0])
def test_a_server_that_stops_lets_replies_end_in_whatever_phase_they_are(root, scripts, scripts_folder, tmp_path, a, drain_s):
    """New ones are refused meanwhile. Those that outlast the drain end in one error that says so and how far they got:
    they are so long that none ends by itself.
    """
    delay_ms = 20 if drain_s else 400
    slow = {
        "before the first token": scripts.write([a, END], [a, EOS], first_delay_ms=80 * delay_ms),
        "in the thought": scripts.write([a] * 80 + [END], [a, EOS], delay_ms=delay_ms),
        "in the answer": scripts.write([END], [*[a] * 80, EOS], delay_ms=delay_ms),
        "between rounds": scripts.write([a, END], delay_ms=delay_ms),
    }
    server = scripted_server(root, scripts_folder, tmp_path / "repository", tmp_path / "triton.log")
    server.drains, server.drain_s = True, drain_s
    options = {"max_thinking_tokens": 200, "max_tokens": 100}
    with server, Client(server.grpc_url, model="s1_scripted", deadline_s=60, max_retries=0) as client, ThreadPoolExecutor(5) as pool:
        asked = {
            phase: pool.submit(client.think, script.question, num_ignore=30 * (phase == "between rounds"), **options)
            for phase, script in slow.items()
        }
        wait_until(lambda: all(script.notes("begun") for script in slow.values()))
        stopping = pool.submit(server.stop)
        if drain_s:
            wait_until(lambda: refused(client))
            assert {phase: one.result().result.answer_end for phase, one in asked.items()} == dict.fromkeys(slow, "stop")
        else:
            errors = {phase: one.exception(timeout=30) for phase, one in asked.items()}
            assert {type(error) for error in errors.values()} == {ServerNotReady}
            assert all("the server is stopping, and the reply was not complete after 0 s" in str(error) for error in errors.values())
            assert all(error.retryable and error.so_far[0]["usage"]["num_prompt_tokens"] for error in errors.values())
        stopping.result()
    assert "Exit timeout expired" not in server.log.read_text()  # Triton had nothing to wait for


def refused(client):
    try:
        client.think("hi", timeout_ms=1)
    except ServerNotReady as error:
        return "the server is stopping" in str(error)
    except S1Error:
        pass
    return False
