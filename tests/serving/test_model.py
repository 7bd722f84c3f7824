# SPDX-License-Identifier: Apache-2.0
"""``s1`` without a server: one terminal response a request, whatever happens. (With one: tests/server.)"""

import gc
import json
import re
import threading
import weakref

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from scripted_engine import ScriptedEngine

from budgetforce.config import OrchestratorConfig
from budgetforce.errors import BudgetForceError, ConfigError, DeadlineExceeded, EngineFailed, EngineUnavailable, Stopping
from budgetforce.serving import model as model_module
from budgetforce.serving import orchestrator, runtime
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.logs import ServerLog, level_of
from budgetforce.serving.model import BudgetForcingModel
from budgetforce.serving.ports import ReplyPort
from budgetforce.serving.request_reader import RequestReader
from fakes.orchestrators import orchestrator_over
from server.waiting import wait_until

END, EOS = 2, 0
LOG = ServerLog(model_module.log_writers())


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def model(monkeypatch, smollm2, engine, tmp_path):
    monkeypatch.setattr(model_module, "GrpcEngine", lambda *_: engine)
    parameters = {"engine_model": "scripted", "engine_url": "x:1", "tokenizer_dir": str(smollm2.tokenizer), "preset": "smollm2"}
    parameters |= {"max_context_tokens": "1000", "vocab_rows": "49152", "drain_file": str(tmp_path / "drain")}
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    config["input"] = [{"name": "text_input"}, {"name": "max_thinking_tokens"}, {"name": "temperature"}]
    model = BudgetForcingModel()
    model.initialize({"model_config": json.dumps(config), "model_instance_name": "s1_0_0", "model_name": "s1"})
    yield model
    model.finalize()


def request(request_id="id", **inputs):
    tensors = {"text_input": [[b"hi"]], "num_ignore": [[0]], "stream": [[True]], **inputs}
    arrays = {name: np.array(value, np.object_ if isinstance(value[0][0], bytes) else None) for name, value in tensors.items()}
    return pb_utils.InferenceRequest(arrays, request_id)


@pytest.mark.usefixtures("model")
def test_what_is_loaded_is_not_searched_for_garbage_while_requests_run():
    assert gc.get_freeze_count()


def test_a_streamed_reply_ends_with_its_result(model, engine, tokenizer):
    (a,) = tokenizer.encode("a")
    engine.enqueue([a, END], [a, EOS])
    sent = request()
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    assert "".join(sent.sender.texts("text_output")) == "Final Answer:a"
    assert sent.sender.texts("event")[-1] == "done"
    result = json.loads(sent.sender.texts("result")[0])
    assert result["effective"]["engine_model"] == "scripted"
    assert [json.loads(commanded) for commanded in sent.sender.texts("round")] == result["rounds"]


def test_a_reply_that_is_not_streamed_is_one_response(model, engine, tokenizer):
    (a,) = tokenizer.encode("a")
    engine.enqueue([a, END], [a, EOS])
    sent = request(stream=[[False]])
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    assert len(sent.sender.responses) == 1


def test_several_samples_in_one_response_have_an_element_each(model, engine, tokenizer):
    (a,) = tokenizer.encode("a")
    engine.enqueue(*[[a, END], [a, EOS]] * 2)
    sent = request(stream=[[False]], num_samples=[[2]], temperature=[[1.0]])
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    outputs = {tensor.name(): tensor.as_numpy() for tensor in sent.sender.responses[0].output_tensors}
    assert {name: array.shape for name, array in outputs.items() if name != "output_ids"} == dict.fromkeys(
        ("text_output", "thinking_output", "event", "index", "result"), (1, 2)
    )
    lengths = [json.loads(result)["usage"]["num_output_ids"] for result in outputs["result"].flat]
    assert outputs["output_ids"].shape == (1, sum(lengths))


def test_answer_now_reaches_the_running_request_of_that_id(model, engine, tokenizer):
    (a,) = tokenizer.encode("a")
    engine.enqueue([a], [a, EOS])
    engine.hanging = {0}
    sent, commanded = request(), pb_utils.InferenceRequest({"answer_now": np.array([[True]])}, "id")
    model.execute([sent])
    while "thinking" not in sent.sender.texts("event"):
        pass
    model.execute([commanded])
    assert sent.sender.finished.wait(5)
    assert commanded.sender.finished.wait(5)
    assert json.loads(commanded.sender.texts("result")[0])["num_requests"] == 1
    assert json.loads(sent.sender.texts("result")[0])["finish_reason"] == {"thinking": "answer_now", "answer": "stop"}
    while model._runtime._running:  # forgotten a moment after its last response
        pass
    assert model._runtime.orchestrator.num_open == 0


@pytest.mark.parametrize("command", ["answer_now", "cancel"])
def test_a_request_obeys_no_command_once_its_last_response_is_being_sent(model, engine, tokenizer, command):
    """Its client may have that before the request is forgotten here. (While a message of a stream is being sent, nothing else runs.)"""
    (a,) = tokenizer.encode("a")
    engine.enqueue([a, END], [a, EOS])
    sent, commanded = request(stream=[[False]]), pb_utils.InferenceRequest({command: np.array([[True]])}, "id")
    send, is_sent, was_told = sent.sender.send, threading.Event(), threading.Event()

    def send_and_be_slow_to_return(response=None, flags=0):
        send(response, flags)
        if flags == pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL:
            is_sent.set()
            was_told.wait(5)

    sent.sender.send = send_and_be_slow_to_return
    model.execute([sent])
    assert is_sent.wait(5)
    model.execute([commanded])
    assert commanded.sender.finished.wait(5)
    was_told.set()
    assert commanded.sender.responses[0].error.code == pb_utils.TritonError.INVALID_ARG


def test_cancel_ends_the_running_request_of_that_id_and_it_alone(model, engine, tokenizer):
    engine.enqueue(tokenizer.encode("a"))
    engine.hanging = {0}
    sent, commanded = request(), pb_utils.InferenceRequest({"cancel": np.array([[True]])}, "id")
    model.execute([sent])
    while "thinking" not in sent.sender.texts("event"):
        pass
    model.execute([commanded])
    assert sent.sender.finished.wait(5)
    assert commanded.sender.finished.wait(5)
    assert sent.sender.responses[-1].error.code == pb_utils.TritonError.CANCELLED
    assert json.loads(commanded.sender.texts("result")[0])["num_requests"] == 1
    assert engine.num_open == 0


def begin(model, engine, tokenizer, *request_ids):
    """Requests that think until they are ended."""
    engine.enqueue(*[tokenizer.encode("a")] * len(request_ids))
    engine.hanging = set(range(100))
    begun = [request(request_id) for request_id in request_ids]
    for sent in begun:
        model.execute([sent])
        while "thinking" not in sent.sender.texts("event"):
            assert not sent.sender.finished.is_set(), sent.sender.responses
    return begun


def tell(model, command, request_id):
    commanded = pb_utils.InferenceRequest({command: np.array([[True]])}, request_id)
    model.execute([commanded])
    assert commanded.sender.finished.wait(5)
    return commanded.sender.responses[-1]


def test_an_id_that_runs_is_refused_to_another_request_until_it_is_free(model, engine, tokenizer):
    (first,) = begin(model, engine, tokenizer, "id")
    second = request()
    model.execute([second])
    assert second.sender.finished.wait(5)
    refused = str(second.sender.responses[-1].error)
    assert refused == "INVALID_ARGUMENT: field 'request id': got \"id\", allowed: an id that no running request has, or none at all"
    assert not first.sender.finished.is_set()
    tell(model, "cancel", "id")
    assert first.sender.finished.wait(5)
    begin(model, engine, tokenizer, "id")


def test_a_client_that_lost_its_connection_and_asks_again_takes_the_place_of_its_first_request(model, engine, tokenizer, monkeypatch):
    """Even before the next check whether the first request's client is still there."""
    monkeypatch.setattr(model._runtime, "_check_for_cancels", lambda: None)
    (first,) = begin(model, engine, tokenizer, "id")
    first.sender.cancelled = True
    (second,) = begin(model, engine, tokenizer, "id")
    assert first.sender.finished.wait(5)
    assert first.sender.responses[-1].error.code == pb_utils.TritonError.CANCELLED
    tell(model, "cancel", "id")
    assert second.sender.finished.wait(5)


MINE, YOURS = f"id~{'0' * 32}", f"id~{'f' * 32}"


@pytest.mark.parametrize("command", ["answer_now", "cancel"])
def test_two_programs_that_chose_the_same_name_command_only_their_own_request(model, engine, tokenizer, command):
    mine, yours = begin(model, engine, tokenizer, MINE, YOURS)
    engine.enqueue([EOS])
    engine.hanging = set()
    result = json.loads(tell(model, command, MINE).output_tensors[-1].as_numpy().flat[0])
    assert result == {"request_id": "id", "num_requests": 1}
    assert mine.sender.finished.wait(5)
    assert not yours.sender.finished.is_set()


def test_a_name_of_two_running_requests_is_refused(model, engine, tokenizer):
    begun = begin(model, engine, tokenizer, MINE, YOURS)
    refused = str(tell(model, "cancel", "id").error)
    assert 'got "id", allowed: an id of one running request: 2 running requests have this name' in refused
    assert not any(sent.sender.finished.is_set() for sent in begun)


def test_a_name_of_a_single_running_request_finds_it(model, engine, tokenizer):
    (sent,) = begin(model, engine, tokenizer, MINE)
    tell(model, "cancel", "id")
    assert sent.sender.finished.wait(5)
    assert '"request_id": "id"' in str(sent.sender.responses[-1].error)


def test_a_server_that_is_to_stop_refuses_new_requests_and_obeys_commands(model, engine, tokenizer, tmp_path):
    (sent,) = begin(model, engine, tokenizer, "id")
    (tmp_path / "drain").write_text("600\n")
    while model.is_ready():
        pass
    for request_id in ("new", "id"):  # one that runs, too: another server may take it
        new = request(request_id)
        model.execute([new])
        assert new.sender.finished.wait(5)
        assert str(new.sender.responses[-1].error).startswith("STOPPING: the server is stopping, and takes no more requests\n")
        assert '"retryable": true' in str(new.sender.responses[-1].error)
    engine.enqueue([EOS])
    engine.hanging = set()
    assert json.loads(tell(model, "answer_now", "id").output_tensors[-1].as_numpy().flat[0])["num_requests"] == 1
    assert sent.sender.finished.wait(5)
    assert sent.sender.texts("event")[-1] == "done"


def test_a_request_that_outlasts_the_drain_ends_with_its_progress(model, engine, tokenizer, tmp_path):
    (sent,) = begin(model, engine, tokenizer, "id")
    (tmp_path / "drain").write_text("0.2\n")
    assert sent.sender.finished.wait(5)
    error = sent.sender.responses[-1].error
    text, _, details = str(error).partition("\n")
    assert text == "STOPPING: the server is stopping, and the reply was not complete after 0.2 s"
    commanded = json.loads(details)
    assert (error.code, commanded["retryable"], commanded["so_far"][0]["usage"]["num_thinking_sampled"]) == (
        pb_utils.TritonError.UNAVAILABLE,
        True,
        1,
    )
    assert engine.num_open == 0


def test_the_heartbeat_continues_as_long_as_the_loop_runs(model, monkeypatch):
    """On a loop that hangs it stops."""
    monkeypatch.setattr(runtime, "HEARTBEAT_PERIOD_S", 0.01)
    before = model._runtime.heartbeat_at
    while model._runtime.heartbeat_at == before:
        pass
    hangs, goes_on = threading.Event(), threading.Event()
    model._runtime._loop.call_soon_threadsafe(lambda: (hangs.set(), goes_on.wait(5)))
    assert hangs.wait(5)
    before = model._runtime.heartbeat_at
    assert not goes_on.wait(0.1)
    assert model._runtime.heartbeat_at == before
    goes_on.set()


def test_a_request_id_that_is_no_text_is_refused(model):
    sent = request()
    sent.request_id = lambda: b"\xff\xfe".decode()
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    assert "field 'request id': got \"ff fe\", allowed: UTF-8 text" in str(sent.sender.responses[-1].error)


def test_an_error_that_cannot_be_sent_still_ends_the_request(model, monkeypatch):
    def refuse(message, code=0):
        raise TypeError("not convertible")

    monkeypatch.setattr(pb_utils, "TritonError", type("TritonError", (), {"INVALID_ARG": 3, "__init__": refuse}))
    sent = request(text_input=[[b""]])
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    assert sent.sender.responses == []


def test_answer_now_to_nobody_is_refused(model):
    commanded = pb_utils.InferenceRequest({"answer_now": np.array([[True]])}, "nobody")
    model.execute([commanded])
    assert commanded.sender.finished.wait(5)
    assert commanded.sender.responses[0].error.code == pb_utils.TritonError.INVALID_ARG


def test_a_client_that_has_gone_ends_the_request_and_the_engines_call(model, engine, tokenizer):
    engine.enqueue(tokenizer.encode("a"))
    engine.hanging = {0}
    sent = request()
    model.execute([sent])
    sent.sender.cancelled = True
    assert sent.sender.finished.wait(5)
    assert sent.sender.responses[-1].error.code == pb_utils.TritonError.CANCELLED
    assert engine.num_open == 0


def test_a_request_that_is_cancelled_before_its_first_step_is_answered(model):
    """Its coroutine never runs; the client is answered all the same."""
    sent = request()
    incoming = IncomingRequest(request_id="id", inputs={}, writer=ReplyPort(sent.sender, model._log), arrived=0.0)

    def start_and_cancel():
        model._runtime._start(incoming)
        next(iter(model._runtime._running)).cancel()

    model._runtime._loop.call_soon_threadsafe(start_and_cancel)
    assert sent.sender.finished.wait(5)
    assert sent.sender.responses[-1].error.code == pb_utils.TritonError.CANCELLED


def test_a_bug_of_ours_is_a_sentence_to_the_client_and_a_traceback_in_the_log(model, monkeypatch):
    pb_utils.Logger.entries.clear()
    monkeypatch.setattr(model._planner, "plan", lambda _: 1 / 0)
    sent = request()
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    message = str(sent.sender.responses[-1].error)
    assert message.startswith("INTERNAL: unexpected error")
    assert "ZeroDivisionError" not in message
    assert "ZeroDivisionError" in pb_utils.Logger.lines()[0]


def test_a_request_that_cannot_be_read_ends_alone_with_a_line_in_the_log(model, engine, tokenizer):
    """The requests that Triton hands over with it are served."""
    pb_utils.Logger.entries.clear()
    (a,) = tokenizer.encode("a")
    engine.enqueue([a, END], [a, EOS])
    broken, whole = request("broken"), request("whole")
    broken.inputs = lambda: 1 / 0
    model.execute([broken, whole])
    assert broken.sender.finished.wait(5)
    assert whole.sender.finished.wait(5)
    assert str(broken.sender.responses[-1].error).startswith("INTERNAL: unexpected error; the server's log has it under request id broken")
    assert whole.sender.texts("event")[-1] == "done"
    assert 's1: request "broken" on scripted after 0 rounds and 0 tokens in ' in pb_utils.Logger.lines()[0]
    assert " s: INTERNAL: " in pb_utils.Logger.lines()[0]
    assert "ZeroDivisionError" in pb_utils.Logger.lines()[0]


FAILURES = [EngineFailed("out of blocks"), EngineUnavailable("gone"), DeadlineExceeded("over"), Stopping("soon"), BudgetForceError("a bug")]


@pytest.mark.parametrize("error", FAILURES, ids=[error.code for error in FAILURES])
def test_a_request_that_fails_leaves_a_line_with_its_name_its_error_and_how_far_it_got(model, engine, tokenizer, error):
    pb_utils.Logger.entries.clear()
    (sent,) = begin(model, engine, tokenizer, MINE)
    (incoming,) = model._runtime._running.values()
    model._runtime._loop.call_soon_threadsafe(incoming.end, error)
    assert sent.sender.finished.wait(5)
    ((level, line),) = pb_utils.Logger.entries
    assert level == level_of(error)
    assert re.fullmatch(rf's1: request "id" on scripted after 1 rounds and 6 tokens in [0-9.]+ s: {error}', line)


def test_what_callers_do_is_counted_and_not_logged_at_level_warning(model, engine, tokenizer, monkeypatch):
    pb_utils.Logger.entries.clear()
    monkeypatch.setattr(model._runtime.orchestrator, "log", ServerLog(model_module.log_writers(), level="warning"))
    (sent,) = begin(model, engine, tokenizer, "id")
    tell(model, "cancel", "id")
    tell(model, "cancel", "no such id")
    assert sent.sender.finished.wait(5)
    assert pb_utils.Logger.entries == []


@pytest.mark.parametrize(("name", "is_logged"), [("tensorrt_llm", False), ("my_engine", True)])
def test_an_engine_of_a_name_whose_limits_are_unknown_leaves_a_line_in_the_log(name, is_logged):
    """Its library may cut a top_k silently."""
    pb_utils.Logger.entries.clear()
    model_module._limits_of(name, LOG)
    assert any(f"engine model '{name}' is none of embedded_llm, tensorrt_llm" in line for line in pb_utils.Logger.lines()) == is_logged


def test_the_model_is_ready_as_long_as_the_engine_answers(model):
    """Triton asks since 26.03; the answer is a flag."""
    assert model.is_ready()
    model._runtime._monitor.engine_is_ready = False
    assert not model.is_ready()


def test_nothing_ends_the_thread_that_checks_for_cancels(model, engine, tokenizer):
    """Not even a bug in what it reports."""
    pb_utils.Logger.entries.clear()
    model._runtime._report = lambda _: 1 / 0
    wait_until(pb_utils.Logger.lines, seconds=10)
    assert "ZeroDivisionError" in pb_utils.Logger.lines()[0]
    engine.enqueue(tokenizer.encode("a"))
    engine.hanging = {0}
    sent = request()
    model.execute([sent])
    sent.sender.cancelled = True
    assert sent.sender.finished.wait(5)


def test_a_request_that_cannot_be_checked_hides_neither_other_requests_nor_the_drain(model, engine, tokenizer, tmp_path):
    pb_utils.Logger.entries.clear()
    broken, gone, stays = begin(model, engine, tokenizer, "broken", "gone", "stays")
    broken.sender.is_cancelled = lambda: 1 / 0
    gone.sender.cancelled = True
    assert gone.sender.finished.wait(5)
    (tmp_path / "drain").write_text("0\n")
    assert stays.sender.finished.wait(5)
    assert "ZeroDivisionError" in pb_utils.Logger.lines()[0]


@pytest.mark.parametrize(("text", "end"), [(b"hi", "done"), (b"", "error")])
def test_a_request_whose_end_cannot_be_recorded_ends_nevertheless(model, engine, tokenizer, monkeypatch, text, end):
    pb_utils.Logger.entries.clear()
    monkeypatch.setattr(orchestrator, "measure", lambda *_: 1 / 0)
    (a,) = tokenizer.encode("a")
    engine.enqueue([a, END], [a, EOS])
    sent = request(text_input=[[text]])
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    wait_until(lambda: not model._runtime._running, seconds=5)
    assert ("error" if sent.sender.responses[-1].error else sent.sender.texts("event")[-1]) == end
    assert "ZeroDivisionError" in pb_utils.Logger.lines()[0]


def test_a_request_that_runs_when_the_model_is_unloaded_may_be_tried_again(model, engine, tokenizer):
    (sent,) = begin(model, engine, tokenizer, "id")
    model._runtime.close()
    model._runtime.close = lambda: None
    text, _, details = str(sent.sender.responses[-1].error).partition("\n")
    assert (text, json.loads(details)["retryable"]) == ("STOPPING: the server is shutting down", True)


def test_the_engine_is_closed_when_no_call_runs_any_more_the_canary_included(tokenizer):
    """A call that runs on without its connection would leave a traceback in the log, or crash."""

    class Engine(ScriptedEngine):
        async def close(self):
            self.num_open_at_its_end = self.num_open

    engine = Engine()
    engine.hanging = set(range(100))
    concurrent = runtime.ConcurrentRuntime(lambda: orchestrator_over(engine, tokenizer), 0.3, lambda _: None)
    wait_until(lambda: engine.num_open, seconds=5)
    concurrent.close()
    assert engine.num_open_at_its_end == 0


@pytest.mark.parametrize(
    ("beside", "field"),
    [
        ({"parameters": '{"temprature":0.5}'}, "temprature"),
        ({"timeout": 5000}, "timeout"),
        ({"flags": 1, "correlation_id": 7}, "sequence_id"),
        ({"correlation_id": "a"}, "sequence_id"),
        ({"correlation_id": 7}, "sequence_id"),
    ],
)
def test_values_beside_the_tensors_are_refused_once_and_counted(model, beside, field):
    sent = pb_utils.InferenceRequest({"text_input": np.array([[b"hi"]], np.object_)}, "id", **beside)
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    assert f"field '{field}'" in str(sent.sender.responses[-1].error)
    assert len(sent.sender.responses) == 1
    assert model._runtime.orchestrator.end_counts["INVALID_ARGUMENT"] == 1


def test_a_text_that_is_too_long_is_refused_before_it_is_copied(model):
    sent = request(text_input=[[b"a" * (2**20 + 1)]])
    model.execute([sent])
    assert sent.sender.finished.wait(5)
    assert "field 'text_input': got \"1048577 bytes\", allowed: at most 1048576 bytes" in str(sent.sender.responses[-1].error)


def test_a_request_that_is_refused_leaves_nothing_behind(model):
    """Its values are free as soon as it is answered, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        sent = request(text_input=[[b"a" * (2**20 + 1)]])
        text = weakref.ref(sent)
        model.execute([sent])
        assert sent.sender.finished.wait(5)
        del sent
        while model._runtime._running:
            pass
        wait_until(lambda: text() is None, seconds=5)
    finally:
        gc.enable()


def test_an_invalid_pattern_of_headers_keeps_the_model_from_loading():
    config = OrchestratorConfig(
        engine_model="x", engine_url="x", tokenizer_dir="x", preset="smollm2", max_context_tokens=1, vocab_rows=1, forwarded_headers="("
    )
    with pytest.raises(ConfigError, match="forwarded_headers"):
        RequestReader(config, [], LOG)
