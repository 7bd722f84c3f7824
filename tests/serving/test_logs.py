# SPDX-License-Identifier: Apache-2.0
"""Every request leaves one line with its id, its code, how far it got and the engine; prompts stay out. (On Triton: tests/server.)"""

import asyncio
import json
import re

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
from budgetforce.serving.requests.bounds import MAX_ID_BYTES
from server.waiting import wait_until

END, EOS = 2, 0
PROMPT = "My secret plan"


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def make_model(monkeypatch, smollm2, engine):
    """Starts ``s1`` over the scripted engine with the given parameters."""
    monkeypatch.setattr(model_module, "GrpcEngine", lambda *_: engine)
    pb_utils.Logger.entries.clear()
    started = []

    def make(**parameters):
        known = {"engine_model": "tensorrt_llm", "engine_url": "x:1", "tokenizer_dir": str(smollm2.tokenizer), "preset": "smollm2"}
        known |= {"max_context_tokens": "1000", "vocab_rows": "49152", **parameters}
        config = {"parameters": {name: {"string_value": value} for name, value in known.items()}, "input": []}
        model = BudgetForcingModel()
        model.initialize({"model_config": json.dumps(config), "model_instance_name": "s1_0_0", "model_name": "s1"})
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


def cancel(model, request_id):
    run(model, pb_utils.InferenceRequest({"cancel": np.array([[True]])}, request_id))


def wait_for_end_of_all(model):
    """Return when no request runs and all ends have been logged."""
    wait_until(lambda: not model._runtime._running, seconds=10)
    model._runtime._call(asyncio.sleep(0))  # the callback that removed the last request has returned


class Ends:
    """For each code: a way to end request "mine" with it."""

    def __init__(self, model, engine, monkeypatch, a):
        self.model, self.engine, self.monkeypatch, self.a = model, engine, monkeypatch, a

    def invalid_argument(self):
        run(self.model, request("mine", answer_prefix=[[PROMPT.encode()]], answer_prefix_policy=[[b"never"]]))

    def cancelled(self):
        begin(self.model, request("mine"))
        cancel(self.model, "mine")

    def deadline(self):
        run(self.model, request("mine", timeout_ms=[[200]]))

    def overloaded(self):
        begin(self.model, request("other"))
        run(self.model, request("mine"))
        cancel(self.model, "other")

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


@pytest.fixture
def end(make_model, engine, monkeypatch, tokenizer):
    """Ends request "mine" with a code; the log is text or JSON."""

    def end_with(code, **parameters):
        (a,) = tokenizer.encode("a")
        engine.enqueue([a], [a])
        engine.hanging = {0, 1}
        model = make_model(max_replies="1", max_waiting="0", max_outage_s="0", **parameters)
        getattr(Ends(model, engine, monkeypatch, a), code)()
        wait_for_end_of_all(model)
        return [line for line in pb_utils.Logger.lines() if '"mine"' in line]

    return end_with


@pytest.mark.parametrize("code", CODES)
def test_each_codes_line_is_found_by_the_request_id(end, code):
    (line,) = end(code)
    first, *traceback = line.split("\n")
    assert first.startswith('s1: request "mine" on tensorrt_llm after ')
    assert f" s: {code.upper()}: " in first
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
    assert re.search(r"after 0 rounds and 0 tokens in [0-9.]+ s: INVALID_ARGUMENT: field 'answer_prefix'$", line)


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
    wait_for_end_of_all(model)
    assert model._runtime.orchestrator.end_counts == {"done": 1}
    expected = ['s1: request "whole" on tensorrt_llm after 2 rounds and 16 tokens in N s: done: complete'] if is_logged else []
    assert [re.sub(r"[0-9]+\.[0-9] s", "N s", line) for line in pb_utils.Logger.lines()] == expected


@pytest.mark.parametrize("code", ["engine_failed", "cancelled", "internal"])
def test_a_client_gets_its_error_once_though_the_log_cannot_be_written(make_model, engine, tokenizer, monkeypatch, code):
    def fail(_):
        raise OSError("no space left")

    sent = []
    monkeypatch.setattr(pb_utils.InferenceRequest, "get_response_sender", lambda self: sent.append(self.sender) or self.sender)
    for name in ("log_info", "log_warn", "log_error"):
        monkeypatch.setattr(pb_utils.Logger, name, fail)
    (a,) = tokenizer.encode("a")
    engine.enqueue([a], [a])
    engine.hanging = {0, 1}
    model = make_model(max_outage_s="0")
    getattr(Ends(model, engine, monkeypatch, a), code)()
    wait_for_end_of_all(model)
    assert sent[0].finished.is_set()
    errors = [response.error for response in sent[0].responses if response.error is not None]
    assert [str(error).partition(":")[0] for error in errors] == [code.upper()]


def written(level, *ends, **settings):
    lines = []
    log = ServerLog({name: lambda line, name=name: lines.append((name, line)) for name in LOG_LEVELS}, level=level, **settings)
    for end in ends:
        log.request_ended(end)
    return lines


def ended(error, name="n", prompt=b"p", duration_ms=1.0):
    return RequestEnd(name=name, error=error, engine="e", num_rounds=0, num_tokens=0, duration_ms=duration_ms, prompt=prompt)


ENDS = [ended(None), ended(InvalidRequest("f", 1, "2")), ended(EngineFailed("x")), ended(EngineFailed("y"))]


@pytest.mark.parametrize(("level", "num_lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 0)])
def test_a_level_hides_what_is_below_it(level, num_lines):
    assert len(written(level, *ENDS)) == num_lines


def test_lines_go_to_the_writer_of_their_level():
    assert [level for level, _ in written("debug", *ENDS)] == ["debug", "info", "warning", "warning"]


def test_a_caller_cannot_write_lines_of_its_own():
    ((_, line),) = written("info", ended(EngineFailed("a\nb"), name="n\ns1: request"), shows_prompts=True)
    assert "\n" not in line


@pytest.mark.parametrize("character", ["x", "\x01", "é"])
def test_the_longest_id_is_written_whole(character):
    name = character * (MAX_ID_BYTES // len(character.encode()))
    ((_, line),) = written("info", ended(EngineFailed("x"), name=name))
    assert json.loads(line.removeprefix("s1: request ").partition(" on e after")[0]) == name


def test_the_time_that_a_request_took_is_in_its_line():
    ((_, line),) = written("info", ended(EngineFailed("x"), duration_ms=12_345.6))
    assert line == 's1: request "n" on e after 0 rounds and 0 tokens in 12.3 s: ENGINE_FAILED: x'


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
