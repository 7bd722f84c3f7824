# SPDX-License-Identifier: Apache-2.0
"""One request at a time in the caller's thread, for a transport that bears no second one. (Many at once: test_model.)"""

import asyncio
import json
import threading
import time

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.config import OrchestratorConfig
from budgetforce.errors import EngineUnavailable
from budgetforce.presets import Preset
from budgetforce.serving import runtime
from budgetforce.serving.drain import DrainFile
from budgetforce.serving.incoming import Incoming
from budgetforce.serving.orchestrator import Orchestrator
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.runtime import HereExecutor, SerialHost

END, EOS = 2, 0


class Outlet:
    """Keeps what is sent; the client goes after ``patience`` questions."""

    def __init__(self, patience=1_000_000):
        self.events, self.results, self.errors, self.threads = [], [], [], set()
        self.patience = patience

    def send_each(self, pieces, final):
        self.threads.add(threading.get_ident())
        self.events += [piece.event for piece in pieces]
        self.results += [json.loads(piece.result) for piece in pieces if piece.result]

    send_together = send_each

    def fail(self, error, message):
        self.errors.append(message)

    def is_cancelled(self):
        self.threads.add(threading.get_ident())
        self.patience -= 1
        return self.patience < 0


class Slow(ScriptedEngine):
    """Lets the loop have a turn, and some time pass, between two ids, as a call over BLS does."""

    async def stream(self, call):
        async for delta in super().stream(call):
            yield delta
            time.sleep(0.02)
            await asyncio.sleep(0)


def make_orchestrator(tokenizer, engine, transport, drain_file):
    settings = {"engine_model": "scripted", "engine_url": "x:1", "tokenizer_dir": "x", "preset": "smollm2", "vocab_rows": 49152}
    return Orchestrator(
        config=OrchestratorConfig(max_context_tokens=1000, transport=transport, drain_file=str(drain_file), **settings),
        tokenizer=tokenizer,
        planner=Planner(tokenizer, Preset.load("smollm2"), 1000),
        engine=engine,
        senders=HereExecutor(),
        workers=HereExecutor(),
        log_error=print,
        log_warning=print,
    )


@pytest.fixture
def a(tokenizer):
    return tokenizer.encode("a")[0]


@pytest.fixture
def host(tokenizer, tmp_path):
    """A host over an engine."""
    made = []

    def make(engine, transport="bls"):
        made.append(SerialHost(lambda: make_orchestrator(tokenizer, engine, transport, tmp_path / "drain"), lambda _: None))
        return made[-1]

    yield make
    for one in made:
        one.close()


def incoming(outlet, **inputs):
    return Incoming(request_id="id", inputs={"text_input": [b"hi"], **inputs}, outlet=outlet, arrived=time.monotonic())


def test_a_request_is_over_when_it_has_been_taken_and_nothing_ran_elsewhere(host, a):
    outlet = Outlet()
    host(Slow([a, END], [a, EOS])).take(incoming(outlet, num_ignore=[0], stream=[True]))
    assert outlet.results[0]["finish_reason"] == {"thinking": "natural", "answer": "stop"}
    assert outlet.threads == {threading.get_ident()}


def test_a_client_that_has_gone_is_noticed_between_two_responses(host, a):
    engine, outlet = Slow([a] * 500), Outlet(patience=1)
    one = host(engine)
    one.take(incoming(outlet, stream=[True], max_thinking_tokens=[500]))
    assert (len(outlet.errors), outlet.errors[0].partition(":")[0], engine.num_open) == (1, "CANCELLED", 0)
    assert dict(one.orchestrator.ends) == {"CANCELLED": 1}


def test_a_deadline_takes_effect_between_two_responses(host, a):
    outlet = Outlet()
    host(Slow([a] * 500)).take(incoming(outlet, timeout_ms=[100], max_thinking_tokens=[500]))
    text, _, details = outlet.errors[0].partition("\n")
    assert text == "DEADLINE: timeout_ms 100 was over before the reply was complete"
    details = json.loads(details)
    assert (details["retryable"], details["request_id"]) == (False, "id")
    assert 0 < details["so_far"][0]["usage"]["num_thinking_sampled"] < 500


def test_an_answer_in_time_is_to_be_had_too(host, a):
    outlet = Outlet()
    engine = Slow([a] * 500, [a, EOS])
    host(engine).take(incoming(outlet, timeout_ms=[1000], on_timeout=[b"answer"], max_thinking_tokens=[500], max_tokens=[5]))
    assert outlet.results[0]["finish_reason"] == {"thinking": "deadline", "answer": "stop"}


@pytest.mark.parametrize(("field", "value"), [("priority", 3), ("answer_now", True)])
def test_what_only_a_process_for_all_can_do_is_refused(host, field, value):
    outlet = Outlet()
    inputs = {"answer_now": [True]} if field == "answer_now" else {"text_input": [b"hi"], field: [value]}
    host(ScriptedEngine()).take(Incoming(request_id="id", inputs=inputs, outlet=outlet, arrived=0.0))
    assert outlet.errors[0].startswith(f"INVALID_ARGUMENT: field '{field}'")
    assert "transport bls" in outlet.errors[0]


def test_the_engine_is_not_ready_for_a_while_when_a_request_found_it_gone(host, a, monkeypatch):
    """Not for ever: with nobody asking, nobody would find out that it is back."""
    engine = ScriptedEngine([], [END], [a, EOS])
    engine.fail_with, engine.failing = EngineUnavailable("gone"), {0}
    one = host(engine)
    assert one.engine_is_ready
    one.take(incoming(Outlet(), num_ignore=[0]))
    assert not one.engine_is_ready
    one.take(incoming(Outlet(), num_ignore=[-1]))  # refused: it has not been near the engine
    assert not one.engine_is_ready
    monkeypatch.setattr(runtime, "NOT_READY_S", 0.0)
    assert one.engine_is_ready


def test_a_server_that_is_to_stop_ends_what_runs_and_refuses_what_comes(host, a, tmp_path):
    engine, running, new = Slow([a] * 500), Outlet(), Outlet()
    one = host(engine)
    (tmp_path / "drain").write_text("0.1\n")
    engine.enqueue([a] * 500)
    one._drain_file, file = DrainFile("", print), one._drain_file  # it is told in the middle of a request
    threading.Timer(0.1, lambda: setattr(one, "_drain_file", file)).start()
    one.take(incoming(running, stream=[True], max_thinking_tokens=[500]))
    one.take(incoming(new))
    codes = [outlet.errors[0].partition(":")[0] for outlet in (running, new)]
    assert (codes, engine.num_open, len(engine.calls)) == (["STOPPING"] * 2, 0, 1)


def test_here_means_now_and_in_this_thread():
    executor = HereExecutor()
    assert executor.submit(threading.get_ident).result() == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result()
