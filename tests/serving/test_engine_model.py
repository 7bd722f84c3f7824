# SPDX-License-Identifier: Apache-2.0
"""The shell around the engines, without a server: what is sent, and when. (With one: tests/server/test_engine_contract.py.)"""

import json
import threading

import library_script as script
import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from scripted_pipeline import ScriptedPipeline

from budgetforce.serving import engine_model
from budgetforce.serving.engine_model import EmbeddedModel, LlmApiModel, VllmModel
from server.waiting import wait_until


class GatedPipeline(ScriptedPipeline):
    """Steps only as far as the test lets it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.steps = threading.Semaphore(0)

    def step(self):
        self.steps.acquire()
        return super().step()


@pytest.fixture
def model(monkeypatch, tmp_path):
    pipeline = GatedPipeline(lambda call: list(range(10, 10 + call.max_new_tokens)))
    monkeypatch.setattr(engine_model, "build_pipeline", lambda *_: pipeline)
    (tmp_path / "model.json").write_text('{"vocab_size": 100, "max_seq_len": 64}')
    model = EmbeddedModel()
    model.initialize({"model_config": json.dumps({"parameters": {"model_dir": {"string_value": str(tmp_path)}}})})
    model.pipeline = pipeline
    yield model
    pipeline.steps.release(1000)
    model.finalize()


def request(num_tokens=3, request_id="", **tensors):
    inputs = {"input_ids": [[1, 2]], "input_lengths": [[2]], "request_output_len": [[num_tokens]], "streaming": [[True]], **tensors}
    return pb_utils.InferenceRequest({name: np.array(value) for name, value in inputs.items()}, request_id)


def ids(sender):
    tensors = [tensor for response in sender.responses for tensor in response.output_tensors if tensor.name() == "output_ids"]
    return [i for tensor in tensors for i in tensor.as_numpy().reshape(-1).tolist()]


def test_a_request_is_answered_and_ended_once(model):
    sent = request()
    model.execute([sent])
    model.pipeline.steps.release(3)
    assert sent.sender.finished.wait(5)
    assert ids(sent.sender) == [10, 11, 12]


def test_a_request_that_is_not_streamed_gets_one_response(model):
    sent = request(streaming=[[False]], exclude_input_in_output=[[True]])
    model.execute([sent])
    model.pipeline.steps.release(3)
    assert sent.sender.finished.wait(5)
    assert len(sent.sender.responses) == 1
    assert ids(sent.sender) == [10, 11, 12]


def test_when_sending_takes_too_long_streams_take_turns_and_nothing_is_lost(model, monkeypatch):
    """A share of 0 lets one stream send a step; the others' ids wait and leave together."""
    monkeypatch.setattr(engine_model, "SENDING_SHARE", 0.0)
    several = [request(num_tokens=20) for _ in range(4)]
    model.execute(several)
    model.pipeline.steps.release(25)
    for sent in several:
        assert sent.sender.finished.wait(5)
        assert ids(sent.sender) == list(range(10, 30))
        assert len(sent.sender.responses) < 20


def test_a_stream_that_ran_alone_for_long_leaves_the_next_ones_no_debts(model, monkeypatch):
    """Once 500 lone sends starved the streams that came after them."""
    monkeypatch.setattr(engine_model, "RESPONSE_COST_S", 1e9)  # nothing is earned
    lone = request(num_tokens=60)
    model.execute([lone])
    model.pipeline.steps.release(60)
    assert lone.sender.finished.wait(5)
    assert model._sends_left == 0


def test_a_client_that_has_gone_is_dropped_from_the_engine(model, monkeypatch):
    monkeypatch.setattr(engine_model, "cancel_check_period_s", lambda _: 0.0)
    gone, stays = request(num_tokens=60), request(num_tokens=5)
    model.execute([gone, stays])
    model.pipeline.steps.release(2)
    gone.sender.cancelled = True
    model.pipeline.steps.release(20)
    assert gone.sender.finished.wait(5)
    assert gone.sender.responses[-1].error.code == pb_utils.TritonError.CANCELLED
    assert stays.sender.finished.wait(5)
    assert ids(stays.sender) == list(range(10, 15))


def test_a_stop_request_ends_the_one_of_the_same_id(model):
    running, other = request(num_tokens=60, request_id="a"), request(num_tokens=60, request_id="b")
    stop = request(request_id="a", stop=[[True]])
    model.execute([running, other, stop])
    model.pipeline.steps.release(2)
    assert running.sender.finished.wait(5)
    assert stop.sender.finished.wait(5)
    assert not other.sender.finished.is_set()


def test_a_broken_engine_ends_its_requests_with_its_words(model):
    sent = request()
    model.pipeline.broken = True
    model.execute([sent])
    model.pipeline.steps.release(1)
    assert sent.sender.finished.wait(5)
    assert str(sent.sender.responses[-1].error) == "ENGINE_FAILED: the pipeline broke"
    model.pipeline.broken = False


def test_a_request_that_is_refused_never_reaches_the_engine(model):
    sent = request(beam_width=[[4]])
    model.execute([sent])
    assert sent.sender.finished.is_set()
    assert "field 'beam_width'" in str(sent.sender.responses[0].error)


class Full(pb_utils.ResponseSender):
    """Triton has no shared memory left; as in Triton, a final response that could not be sent has closed the sender."""

    def send(self, response=None, flags=0):
        raise pb_utils.TritonModelException("shared memory is full")

    is_cancelled = send


@pytest.mark.parametrize("streaming", [True, False])
def test_a_response_that_cannot_be_sent_ends_its_request_alone(model, streaming):
    pb_utils.Logger.entries.clear()
    broken, whole = request(num_tokens=60, streaming=[[streaming]]), request()
    broken.sender = Full()
    model.execute([broken, whole])
    model.pipeline.steps.release(60)
    assert whole.sender.finished.wait(5)
    assert ids(whole.sender) == [10, 11, 12]
    wait_until(lambda: not model._streams, seconds=5)
    assert any("shared memory is full" in line for line in pb_utils.Logger.lines())
    again = request()
    model.execute([again])
    model.pipeline.steps.release(9)
    assert again.sender.finished.wait(5)


def test_a_request_that_cannot_be_read_or_submitted_ends_alone(model, monkeypatch):
    pb_utils.Logger.entries.clear()
    unreadable, refused, whole = request(request_id="unreadable"), request(num_tokens=7), request()
    unreadable.inputs = lambda: 1 / 0
    submit = model._engine.submit
    monkeypatch.setattr(model._engine, "submit", lambda call: 1 / 0 if call.max_new_tokens == 7 else submit(call))
    model.execute([unreadable, refused, whole])
    model.pipeline.steps.release(9)
    for sent in (unreadable, refused, whole):
        assert sent.sender.finished.wait(5)
    assert ids(whole.sender) == [10, 11, 12]
    for sent in (unreadable, refused):
        assert str(sent.sender.responses[-1].error).startswith("INTERNAL: unexpected error")
    assert len([line for line in pb_utils.Logger.lines() if "ZeroDivisionError" in line]) == 2


def test_a_step_that_fails_ends_its_requests_and_not_the_thread(model, monkeypatch):
    """An engine's step never raises; if it does, that is a bug of ours."""
    first, second = request(), request()
    step, errors = model._engine.step, [ZeroDivisionError()]

    def fail_once():
        if errors:
            raise errors.pop()
        return step()

    monkeypatch.setattr(model._engine, "step", fail_once)
    model.execute([first])
    assert first.sender.finished.wait(5)
    assert str(first.sender.responses[-1].error).startswith("INTERNAL: unexpected error")
    model.execute([second])
    model.pipeline.steps.release(9)
    assert second.sender.finished.wait(5)
    assert ids(second.sender) == [10, 11, 12]


def test_a_request_that_has_not_begun_when_the_model_is_unloaded_may_be_tried_again(model):
    running, waiting = request(), request()
    model.execute([running])
    wait_until(lambda: model._streams, seconds=5)  # the thread waits for its step
    model.execute([waiting])
    model._stopping = True
    model.pipeline.steps.release(1)
    for sent in (running, waiting):
        assert sent.sender.finished.wait(5)
        assert str(sent.sender.responses[-1].error) == "ENGINE_UNAVAILABLE: the server is shutting down"


@pytest.fixture(params=[VllmModel, LlmApiModel])
def async_model(request, tmp_path, monkeypatch):
    """One whose library says two ids and then nothing."""
    monkeypatch.setattr(engine_model, "cancel_check_period_s", lambda _: 0.01)
    script.reset(10, 11)
    (tmp_path / "config.json").write_text('{"vocab_size": 100, "max_position_embeddings": 64}')
    parameters = {"model_dir": {"string_value": str(tmp_path)}, "max_seq_len": {"string_value": "64"}}
    model = request.param()
    model.initialize({"model_config": json.dumps({"parameters": parameters})})
    yield model
    model.finalize()


def test_an_asynchronous_library_is_served_in_the_same_way(async_model):
    several = [request(num_tokens=2, return_perf_metrics=[[True]]) for _ in range(4)]
    async_model.execute(several)
    for sent in several:
        assert sent.sender.finished.wait(5)
        assert ids(sent.sender) == [10, 11]
        assert "kv_cache_reused_blocks" in {tensor.name() for tensor in sent.sender.responses[-1].output_tensors}


def test_ids_leave_as_they_come_whatever_the_share_of_sending(async_model, monkeypatch):
    """That share is for an engine which computes on the shell's own thread."""
    monkeypatch.setattr(engine_model, "SENDING_SHARE", 0.0)
    several = [request(num_tokens=9) for _ in range(4)]
    async_model.execute(several)
    for sent in several:
        wait_until(lambda sent=sent: ids(sent.sender) == [10, 11], seconds=5)
        sent.sender.cancelled = True


def test_a_client_that_has_gone_is_noticed_while_the_library_says_nothing(async_model):
    gone = request(num_tokens=9)
    async_model.execute([gone])
    wait_until(lambda: ids(gone.sender) == [10, 11], seconds=5)
    gone.sender.cancelled = True
    assert gone.sender.finished.wait(5)
    assert gone.sender.responses[-1].error.code == pb_utils.TritonError.CANCELLED
    wait_until(lambda: not script.running, seconds=5)


def test_a_stop_request_reaches_a_library_that_says_nothing(async_model):
    running, stop = request(num_tokens=9, request_id="a"), request(request_id="a", stop=[[True]])
    async_model.execute([running])
    wait_until(lambda: ids(running.sender) == [10, 11], seconds=5)
    async_model.execute([stop])
    assert running.sender.finished.wait(5)
    assert stop.sender.finished.wait(5)


def test_what_runs_when_the_model_is_unloaded_may_be_tried_again(async_model):
    sent = request(num_tokens=9)
    async_model.execute([sent])
    wait_until(lambda: ids(sent.sender), seconds=5)
    async_model.finalize()
    assert str(sent.sender.responses[-1].error) == "ENGINE_UNAVAILABLE: the server is shutting down"
    async_model.finalize = lambda: None
