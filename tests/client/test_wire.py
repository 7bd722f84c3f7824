# SPDX-License-Identifier: Apache-2.0
"""Requests become messages and messages events, without a connection."""

import json
from dataclasses import fields

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor

from s1_client import (
    AnswerDelta,
    AnswerOpened,
    Cancelled,
    DeadlineExceeded,
    Done,
    EngineFailed,
    Injected,
    InvalidRequest,
    Overloaded,
    ServerFailed,
    ServerUnavailable,
    ThinkingDelta,
    ThinkingOpened,
    Usage,
    _wire,
)

RESULT = {
    "request_id": "r",
    "index": 0,
    "finish_reason": {"thinking": "natural", "answer": "stop"},
    "usage": {**dict.fromkeys((field.name for field in fields(Usage)), 1), "num_of_a_newer_server": 1},
    "effective": {"max_thinking_tokens": 5},
    "rounds": [],
    "total_ms": 2.0,
}


def response(event, *, thinking="", answer="", ids=(), result=None, index=0):
    outputs = {"event": event, "thinking_output": thinking, "text_output": answer}
    if result is not None:
        outputs["result"] = json.dumps(result)
    message = service_pb2.ModelStreamInferResponse()
    for name, text in outputs.items():
        message.infer_response.outputs.add(name=name, datatype="BYTES", shape=[1, 1])
        message.infer_response.raw_output_contents.append(serialize_byte_tensor(np.array([text.encode()], np.object_)).item())
    for name, numbers in (("output_ids", ids), ("index", (index,))):
        message.infer_response.outputs.add(name=name, datatype="INT32", shape=[1, len(numbers)])
        message.infer_response.raw_output_contents.append(np.array(numbers, np.int32).tobytes())
    return message


def sent(prompt="hi", **options):
    request = _wire.infer_request(prompt, options, stream=True)
    return {
        tensor.name: (tensor.datatype, list(tensor.shape), raw)
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }


def test_only_what_is_given_is_sent():
    assert set(sent(top_p=None)) == {"text_input", "stream"}


def test_values_have_their_tensors_type():
    tensors = sent(max_tokens=5, temperature=0.5, seed=2**64 - 1, stop_words=["a", "bc"])
    assert tensors["max_tokens"] == ("INT32", [1, 1], b"\x05\0\0\0")
    assert tensors["seed"] == ("UINT64", [1, 1], b"\xff" * 8)
    assert tensors["temperature"][2] == np.float32(0.5).tobytes()
    assert tensors["stop_words"] == ("BYTES", [1, 2], b"\x01\0\0\0a\x02\0\0\0bc")
    assert tensors["stream"] == ("BOOL", [1, 1], b"\x01")


def test_messages_are_sent_as_json():
    tensors = sent([{"role": "user", "content": "é"}])
    assert json.loads(tensors["messages"][2][4:]) == [{"role": "user", "content": "é"}]
    assert "text_input" not in tensors


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="unknown option 'max_words'; known: preset"):
        sent(max_words=3)


def test_integers_of_numpy_are_integers():
    assert sent(max_tokens=np.int64(5))["max_tokens"] == sent(max_tokens=5)["max_tokens"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", -1), ("seed", 2**64), ("max_tokens", 2**31), ("num_ignore", 1.5), ("temperature", "hot"), ("ignore_str", "\ud800")],
)
def test_a_value_that_its_tensor_cannot_hold_is_refused(option, value):
    """numpy 1 would wrap it around."""
    with pytest.raises(InvalidRequest) as refused:
        sent(**{option: value})
    assert refused.value.field == option


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (response("thinking", thinking="a", ids=(1, 2)), ThinkingDelta(text="a", ids=(1, 2))),
        (response("injected", thinking="Wait", ids=(3,)), Injected(phase="thinking", text="Wait", ids=(3,))),
        (response("injected", answer="Final Answer:", ids=(4,)), Injected(phase="answer", text="Final Answer:", ids=(4,))),
        (response("thinking_opened", ids=(6,), index=2), ThinkingOpened(ids=(6,), index=2)),
        (response("answer_opened", ids=(5,)), AnswerOpened(ids=(5,))),
        (response("answer", answer="b"), AnswerDelta(text="b", ids=())),
        (service_pb2.ModelStreamInferResponse(), None),
    ],
)
def test_each_message_is_one_event(message, event):
    assert event == _wire.read_response(message)


def test_the_last_event_holds_the_result_and_leaves_out_what_it_does_not_know():
    done = _wire.read_response(response("done", result=RESULT))
    assert isinstance(done, Done)
    assert (done.result.thinking_end, done.result.usage.num_ignored, done.result.total_ms) == ("natural", 1, 2.0)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("INVALID_ARGUMENT: field 'top_p': got 7, allowed: 0 < top_p <= 1", InvalidRequest),
        ("ENGINE_UNAVAILABLE: the engine is away", ServerUnavailable),
        ("DEADLINE: timeout_ms 5 was over", DeadlineExceeded),
        ("CANCELLED: the request was cancelled", Cancelled),
        ("OVERLOADED: 1 of 1 replies run and 0 of 0 requests wait; retry after 1.5 s", Overloaded),
        ("Request for unknown model: 's1' is not found", ServerUnavailable),
        ("ENGINE_FAILED: it broke", EngineFailed),
        ("INTERNAL: unexpected error", ServerFailed),
        ("what nobody has ever said", ServerFailed),
    ],
)
def test_error_messages_become_errors(message, kind):
    with pytest.raises(kind):
        _wire.read_response(service_pb2.ModelStreamInferResponse(error_message=message))


def test_an_error_says_how_far_the_request_had_got():
    message = 'ENGINE_FAILED: it broke\n{"retryable": false, "request_id": "r", "so_far": [{"index": 0, "num_rounds": 2, "usage": {}}]}'
    with pytest.raises(EngineFailed, match="^it broke$") as failed:
        _wire.read_response(service_pb2.ModelStreamInferResponse(error_message=message))
    assert (failed.value.retryable, failed.value.request_id, failed.value.so_far[0]["num_rounds"]) == (False, "r", 2)


@pytest.mark.parametrize("details", ["{broken", '{"a": 1}', "second line of a foreign message", ""])
def test_details_that_are_none_do_no_harm(details):
    with pytest.raises(EngineFailed, match="it broke") as failed:
        _wire.read_response(service_pb2.ModelStreamInferResponse(error_message=f"ENGINE_FAILED: it broke\n{details}"))
    assert (failed.value.retryable, list(failed.value.so_far)) == (False, [])


def test_an_overloaded_server_says_when_to_come_back():
    with pytest.raises(Overloaded, match="1 of 1 replies run") as turned_away:
        _wire.read_response(service_pb2.ModelStreamInferResponse(error_message="OVERLOADED: 1 of 1 replies run; retry after 1.5 s"))
    assert turned_away.value.retry_after_s == 1.5


def test_an_event_of_an_unknown_kind_is_an_error():
    with pytest.raises(ServerFailed, match="unknown kind"):
        _wire.read_response(response("news"))


def events_of(index):
    return [
        ThinkingDelta(text="a", ids=(), index=index),
        Injected(phase="thinking", text="Wait", ids=(), index=index),
        AnswerOpened(ids=(), index=index),
        Injected(phase="answer", text="F:", ids=(), index=index),
        AnswerDelta(text=str(index), ids=(), index=index),
    ]


def done(index=0):
    return Done(result=_wire.read_response(response("done", result=RESULT)).result, index=index)


def test_events_join_to_a_reply():
    (reply,) = _wire.join([*events_of(0), done()])
    assert (reply.thinking, reply.answer, reply.result) == ("aWait", "F:0", done().result)
    for events in (events_of(0), []):
        with pytest.raises(ServerFailed, match="without a result"):
            _wire.join(events)


def test_events_of_several_samples_join_to_a_reply_each():
    mixed = [event for pair in zip([*events_of(1), done(1)], [*events_of(0), done(0)], strict=True) for event in pair]
    assert [reply.answer for reply in _wire.join(mixed)] == ["F:0", "F:1"]


def test_answer_now_is_a_request_of_its_own():
    request = _wire.command_request("answer_now", "mine")
    assert (request.id, [tensor.name for tensor in request.inputs]) == ("mine", ["answer_now"])


def test_a_prompt_that_is_no_text_is_refused():
    with pytest.raises(InvalidRequest) as refused:
        sent("\ud800")
    assert refused.value.field == "text_input"
