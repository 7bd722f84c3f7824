# SPDX-License-Identifier: Apache-2.0
"""Every request leaves one line with its id, its code, how far it got and the engine; prompts stay out. (On Triton: tests/server.)"""

import asyncio
import json
import time

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from scripted_engine import ScriptedEngine

from budgetforce.config import LOG_LEVELS
from budgetforce.core import ShellProtocolError
from budgetforce.errors import EngineFailed, EngineUnavailable, InvalidRequest, Stopping
from budgetforce.serving import model as model_module
from budgetforce.serving.logs import MAX_PROMPT_CHARS, RequestEnd, ServerLog
from budgetforce.serving.model import BudgetForcingModel

END, EOS = 2, 0
PROMPT = "My secret plan"


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def make_model(monkeypatch, smollm2, engine):
    """Starts ``s1`` over the scripted engine with the given parameters."""
    monkeypatch.setattr(model_module, "GrpcEngine", lambda *_: engine)
    pb_utils.Logger.lines.clear()
    started = []

    def make(**parameters):
        known = {"engine_model": "tensorrt_llm", "engine_url": "x:1", "tokenizer_dir": str(smollm2.tokenizer), "preset": "smollm2"}
        known |= {"max_context_tokens": "1000", "vocab_rows": "49152", **parameters}
        config = {"parameters": {name: {"string_value": value} for name, value in known.items()}, "input": []}
        model = BudgetForcingModel()
        model.initialize({"model_config": json.dumps(config), "model_instance_name": "s1_0_0"})
        started.append(model)
        return model

    yield make
    for model in started:
        model.finalize()


def request(request_id, **inputs):
    tensors = {"text_input": [[PROMPT.encode()]], "num_ignore": [[0]], "stream": [[True]], **inputs}
    arrays = {name: np.array(value, np.object_ if isinstance(value[0][0], bytes) else None) for name, value in tensors.items()}
    return pb_utils.InferenceRequest(arrays, request_id)


def run(model, sent):
    model.execute([sent])
    assert sent.sender.finished.wait(10)
    return sent


def begin(model, sent):
    """Send a request that thinks until it is ended."""
    model.execute([sent])
    while "thinking" not in sent.sender.texts("event"):
        assert not sent.sender.finished.is_set(), sent.sender.responses


class Ends:
    """For each code: a way to end request "mine" with it."""

    def __init__(self, model, engine, monkeypatch, a):
        self.model, self.engine, self.monkeypatch, self.a = model, engine, monkeypatch, a

    def invalid_argument(self):
        run(self.model, request("mine", answer_prefix=[[PROMPT.encode()]], answer_prefix_policy=[[b"never"]]))

    def cancelled(self):
        begin(self.model, request("mine"))
        run(self.model, pb_utils.InferenceRequest({"cancel": np.array([[True]])}, "mine"))

    def deadline(self):
        run(self.model, request("mine", timeout_ms=[[200]]))

    def overloaded(self):
        begin(self.model, request("other"))
        run(self.model, request("mine"))

    def stopping(self):
        begin(self.model, request("mine"))
        (incoming,) = self.model._runtime._running.values()
        self.model._runtime._loop.call_soon_threadsafe(incoming.end, Stopping("soon"))

    def engine_unavailable(self):
        self.engine.fail_with, self.engine.hanging = EngineUnavailable("gone"), set()
        run(self.model, request("mine"))

    def engine_failed(self):
        self.engine.fail_with, self.engine.hanging = EngineFailed("out of\nblocks"), set()
        run(self.model, request("mine"))

    def internal(self):
        def misuse(*_):
            raise ShellProtocolError("ROUND_ENDED cannot happen in DONE")

        self.monkeypatch.setattr("budgetforce.core.BudgetForcer.receive", misuse)
        run(self.model, request("mine"))


LEVELS = {"invalid_argument": "info", "cancelled": "info", "overloaded": "info", "internal": "error"}
CODES = ["invalid_argument", "cancelled", "deadline", "overloaded", "stopping", "engine_unavailable", "engine_failed", "internal"]


def lines_of(request_id):
    """The lines with this request id, as soon as there are any."""
    give_up_at = time.monotonic() + 10
    while not (found := [line for line in pb_utils.Logger.lines if f'"{request_id}"' in line]):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    return found


@pytest.fixture
def end(make_model, engine, monkeypatch, tokenizer):
    """Ends request "mine" with a code; the log is text or JSON."""

    def end_with(code, **parameters):
        (a,) = tokenizer.encode("a")
        engine.enqueue([a], [a])
        engine.hanging = {0, 1}
        model = make_model(max_replies="1", max_waiting="0", max_outage_s="0", **parameters)
        getattr(Ends(model, engine, monkeypatch, a), code)()
        return lines_of("mine")

    return end_with


@pytest.mark.parametrize("code", CODES)
def test_each_codes_line_is_found_by_the_request_id(end, code):
    (line,) = end(code)
    first, *traceback = line.split("\n")
    assert first.startswith('s1: request "mine" on tensorrt_llm after ')
    assert f" tokens: {code.upper()}: " in first
    assert bool(traceback) == (code == "internal")
    assert PROMPT not in line


@pytest.mark.parametrize("code", CODES)
def test_each_codes_line_as_json_is_one_object(end, code):
    (line,) = end(code, log_format="json")
    entry = json.loads(line)
    assert (entry["event"], entry["request_id"], entry["code"]) == ("request_ended", "mine", code.upper())
    assert (entry["level"], entry["engine"]) == (LEVELS.get(code, "warning"), "tensorrt_llm")
    assert min(entry["num_rounds"], entry["num_tokens"], entry["duration_ms"]) >= 0
    assert ("traceback" in entry) == (code == "internal")
    assert "\n" not in line
    assert PROMPT not in line


def test_a_refusal_names_its_field_and_quotes_nothing_that_the_caller_sent(end):
    (line,) = end("invalid_argument")
    assert line.endswith("after 0 rounds and 0 tokens: INVALID_ARGUMENT: field 'answer_prefix'")


def test_a_shell_that_misuses_the_core_is_a_bug_with_a_traceback(end):
    """It is not blamed on the engine."""
    (line,) = end("internal")
    assert "INTERNAL: unexpected error" in line
    assert "ShellProtocolError: ROUND_ENDED cannot happen in DONE" in line


def test_prompts_and_refused_values_are_logged_when_the_operator_says_so(end):
    (line,) = end("invalid_argument", log_format="json", log_prompts="on")
    entry = json.loads(line)
    assert entry["prompt"] == PROMPT
    assert f'got "{PROMPT}"' in entry["message"]


@pytest.mark.parametrize(("level", "is_logged"), [("debug", True), ("info", False)])
def test_a_complete_request_is_a_line_at_debug_level(make_model, engine, tokenizer, level, is_logged):
    (a,) = tokenizer.encode("a")
    engine.enqueue([a, END], [a, EOS])
    model = make_model(log_level=level)
    run(model, request("whole"))
    while not model._runtime.orchestrator.end_counts:  # counted and logged a moment after the last response
        pass
    model._runtime._call(asyncio.sleep(0))
    expected = ['s1: request "whole" on tensorrt_llm after 2 rounds and 16 tokens: done: complete'] if is_logged else []
    assert pb_utils.Logger.lines == expected


def written(level, *ends, **settings):
    lines = []
    log = ServerLog({name: lambda line, name=name: lines.append((name, line)) for name in LOG_LEVELS}, level=level, **settings)
    for end in ends:
        log.request_ended(end)
    return lines


def ended(error, name="n", prompt=b"p"):
    return RequestEnd(name=name, error=error, engine="e", num_rounds=0, num_tokens=0, duration_ms=1.0, prompt=prompt)


ENDS = [ended(None), ended(InvalidRequest("f", 1, "2")), ended(EngineFailed("x")), ended(EngineFailed("y"))]


@pytest.mark.parametrize(("level", "num_lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 0)])
def test_a_level_hides_what_is_below_it(level, num_lines):
    assert len(written(level, *ENDS)) == num_lines


def test_lines_go_to_the_writer_of_their_level():
    assert [level for level, _ in written("debug", *ENDS)] == ["debug", "info", "warning", "warning"]


def test_a_caller_cannot_write_lines_of_its_own():
    ((_, line),) = written("info", ended(EngineFailed("a\nb"), name="n\ns1: request"), shows_prompts=True)
    assert "\n" not in line


def test_a_long_prompt_is_cut():
    ((_, line),) = written("info", ended(EngineFailed("x"), prompt="é".encode() * 3 * MAX_PROMPT_CHARS), is_json=True, shows_prompts=True)
    assert json.loads(line)["prompt"] == "é" * MAX_PROMPT_CHARS


def test_messages_for_the_operator_are_json_too():
    lines = []
    log = ServerLog(dict.fromkeys(LOG_LEVELS, lines.append), is_json=True)
    log.error("no metrics")
    try:
        json.loads("no JSON")
    except ValueError:
        log.exception("a bug")
    first, second = map(json.loads, lines)
    assert first == {"level": "error", "event": "message", "message": "no metrics"}
    assert "JSONDecodeError" in second["traceback"]
