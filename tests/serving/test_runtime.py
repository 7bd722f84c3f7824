# SPDX-License-Identifier: Apache-2.0
"""One request at a time in the caller's thread, for a transport without concurrent calls. (Many at once: test_model.)"""

import asyncio
import json
import threading
import time

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.errors import EngineUnavailable
from budgetforce.serving import runtime
from budgetforce.serving.drain import DrainFile
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.runtime import InlineExecutor, SerialRuntime
from fakes.orchestrators import orchestrator_over

END, EOS = 2, 0


class ResponseWriter:
    """Keeps what is sent; the client goes after ``num_checks`` checks."""

    def __init__(self, num_checks=1_000_000):
        self.events, self.results, self.errors, self.threads = [], [], [], set()
        self.num_checks_left = num_checks

    def send_each(self, chunks, final):
        self.threads.add(threading.get_ident())
        self.events += [chunk.event for chunk in chunks]
        self.results += [json.loads(chunk.result) for chunk in chunks if chunk.result]

    send_together = send_each

    def fail(self, error, message):
        self.errors.append(message)

    def is_cancelled(self):
        self.threads.add(threading.get_ident())
        self.num_checks_left -= 1
        return self.num_checks_left < 0


class Slow(ScriptedEngine):
    """Lets the loop have a turn, and some time pass, between two ids, as a call over BLS does."""

    async def stream(self, call):
        async for delta in super().stream(call):
            yield delta
            time.sleep(0.02)
            await asyncio.sleep(0)


def make_orchestrator(tokenizer, engine, transport, drain_file):
    return orchestrator_over(engine, tokenizer, config={"transport": transport, "drain_file": str(drain_file)})


@pytest.fixture
def a(tokenizer):
    return tokenizer.encode("a")[0]


@pytest.fixture
def runtime_of(tokenizer, tmp_path):
    """Builds a runtime over an engine."""
    made = []

    def make(engine, transport="bls"):
        made.append(SerialRuntime(lambda: make_orchestrator(tokenizer, engine, transport, tmp_path / "drain"), lambda _: None))
        return made[-1]

    yield make
    for serial in made:
        serial.close()


def incoming(writer, **inputs):
    return IncomingRequest(request_id="id", inputs={"text_input": [b"hi"], **inputs}, writer=writer, arrived=time.monotonic())


def test_a_request_is_over_when_it_has_been_taken_and_nothing_ran_elsewhere(runtime_of, a):
    writer = ResponseWriter()
    runtime_of(Slow([a, END], [a, EOS])).accept(incoming(writer, num_ignore=[0], stream=[True]))
    assert writer.results[0]["finish_reason"] == {"thinking": "natural", "answer": "stop"}
    assert writer.threads == {threading.get_ident()}


def test_a_client_that_has_gone_is_noticed_between_two_responses(runtime_of, a):
    engine, writer = Slow([a] * 500), ResponseWriter(num_checks=1)
    serial = runtime_of(engine)
    serial.accept(incoming(writer, stream=[True], max_thinking_tokens=[500]))
    assert (len(writer.errors), writer.errors[0].partition(":")[0], engine.num_open) == (1, "CANCELLED", 0)
    assert dict(serial.orchestrator.end_counts) == {"CANCELLED": 1}


def test_a_deadline_takes_effect_between_two_responses(runtime_of, a):
    """The deadline counts from the arrival: it must outlast the threads that read and plan, which a busy machine starts late."""
    writer = ResponseWriter()
    runtime_of(Slow([a] * 500)).accept(incoming(writer, timeout_ms=[1000], max_thinking_tokens=[500]))
    text, _, details = writer.errors[0].partition("\n")
    assert text == "DEADLINE: timeout_ms 1000 was over before the reply was complete"
    details = json.loads(details)
    assert (details["retryable"], details["request_id"]) == (False, "id")
    assert 0 < details["so_far"][0]["usage"]["num_thinking_sampled"] < 500


def test_an_answer_in_time_is_possible_too(runtime_of, a):
    writer = ResponseWriter()
    engine = Slow([a] * 500, [a, EOS])
    runtime_of(engine).accept(incoming(writer, timeout_ms=[1000], on_timeout=[b"answer"], max_thinking_tokens=[500], max_tokens=[5]))
    assert writer.results[0]["finish_reason"] == {"thinking": "deadline", "answer": "stop"}


@pytest.mark.parametrize(("field", "value"), [("priority", 3), ("answer_now", True)])
def test_fields_that_need_all_requests_in_one_process_are_refused(runtime_of, field, value):
    writer = ResponseWriter()
    inputs = {"answer_now": [True]} if field == "answer_now" else {"text_input": [b"hi"], field: [value]}
    runtime_of(ScriptedEngine()).accept(IncomingRequest(request_id="id", inputs=inputs, writer=writer, arrived=0.0))
    assert writer.errors[0].startswith(f"INVALID_ARGUMENT: field '{field}'")
    assert "transport bls" in writer.errors[0]


def test_the_engine_is_not_ready_for_a_while_when_a_request_found_it_gone(runtime_of, a, monkeypatch):
    """Not forever: without requests nothing would find out that it is back."""
    engine = ScriptedEngine([], [END], [a, EOS])
    engine.fail_with, engine.failing = EngineUnavailable("gone"), {0}
    serial = runtime_of(engine)
    assert serial.engine_is_ready
    serial.accept(incoming(ResponseWriter(), num_ignore=[0]))
    assert not serial.engine_is_ready
    serial.accept(incoming(ResponseWriter(), num_ignore=[-1]))  # refused: it has not been near the engine
    assert not serial.engine_is_ready
    monkeypatch.setattr(runtime, "NOT_READY_S", 0.0)
    assert serial.engine_is_ready


def test_a_server_that_is_to_stop_ends_what_runs_and_refuses_what_comes(runtime_of, a, tmp_path):
    engine, running, new = Slow([a] * 500), ResponseWriter(), ResponseWriter()
    serial = runtime_of(engine)
    (tmp_path / "drain").write_text("0.1\n")
    engine.enqueue([a] * 500)
    serial._drain_file, file = DrainFile("", print), serial._drain_file  # it is told in the middle of a request
    threading.Timer(0.1, lambda: setattr(serial, "_drain_file", file)).start()
    serial.accept(incoming(running, stream=[True], max_thinking_tokens=[500]))
    serial.accept(incoming(new))
    codes = [writer.errors[0].partition(":")[0] for writer in (running, new)]
    assert (codes, engine.num_open, len(engine.calls)) == (["STOPPING"] * 2, 0, 1)


def test_the_inline_executor_runs_at_once_in_the_calling_thread():
    executor = InlineExecutor()
    assert executor.submit(threading.get_ident).result() == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result()
