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
    Options,
    Overloaded,
    Round,
    RoundEnded,
    ServerFailed,
    ServerNotReady,
    ThinkingDelta,
    ThinkingOpened,
    Usage,
    _wire,
)
from s1_client._wire.values import LISTS

RESULT = {
    "request_id": "r",
    "index": 0,
    "finish_reason": {"thinking": "natural", "answer": "stop"},
    "usage": {**dict.fromkeys((field.name for field in fields(Usage)), 1), "num_of_a_newer_server": 1},
    "effective": {"max_thinking_tokens": 5},
    "rounds": [],
    "stop_word": None,
    "engine_time_to_first_token_ms": 1.0,
    "total_ms": 2.0,
}


ROUND = {field.name: 1 for field in fields(Round)}


def response(event, *, thinking="", answer="", ids=(), index=0, **reports):
    outputs = {"event": event, "thinking_output": thinking, "text_output": answer}
    outputs |= {name: json.dumps(report) for name, report in reports.items()}
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


def test_the_typed_options_are_those_of_the_wire():
    assert set(Options.__annotations__) == set(_wire.OPTIONS)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="unknown option 'colour'; known: max_thinking_tokens, "):
        sent(colour=3)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_thinking", "max_thinking_tokens"), ("temprature", "temperature"), ("stop", "stop_words"), ("numIgnore", "num_ignore")],
)
def test_the_nearest_option_is_named(name, meant):
    with pytest.raises(TypeError, match=f"unknown option '{name}'; did you mean .*'{meant}'"):
        sent(**{name: 3})


def test_integers_of_numpy_are_integers():
    assert sent(max_tokens=np.int64(5))["max_tokens"] == sent(max_tokens=5)["max_tokens"]


OF_TYPE = {
    "INT32": (True, np.bool_(1), 1.0, 1.5, "5", b"5", [5], (5,), np.array([5]), 2**31, -(2**31) - 1, 10**5000, 1j),
    "UINT64": (True, 1.0, "5", [5], -1, 2**64, np.int64(-1)),
    "FP32": (True, np.bool_(1), "hot", [0.5], 1e39, -1e39, 10**400, 1e-46, float("nan"), float("inf"), 1j, np.complex64(1)),
    "BYTES": (True, 5, b"s1", "\ud800", object(), {"a": 1}, {"a"}),
}


@pytest.mark.parametrize("option", _wire.OPTIONS)
def test_a_value_of_another_type_or_out_of_range_is_refused(option):
    """NumPy would wrap a large number around, round a small one to 0, which is greedy, and take True for 1."""
    for value in OF_TYPE[_wire.OPTIONS[option]]:
        with pytest.raises(InvalidRequest, match=f"{option}: got .*, allowed: ") as refused:
            sent(**{option: value})
        assert refused.value.field == option


@pytest.mark.parametrize("option", [name for name, datatype in _wire.OPTIONS.items() if datatype == "BYTES"])
@pytest.mark.parametrize("value", [["a"], ("a", "b"), [], ["a", 5], ["a", b"b"]])
def test_several_texts_are_for_the_options_that_are_lists(option, value):
    if option in LISTS and all(isinstance(text, str) for text in value):
        assert sent(**{option: value})[option][1] == [1, len(value)]
    else:
        with pytest.raises(InvalidRequest, match=f"{option}: got "):
            sent(**{option: value})


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1e-45, 3.4e38, np.float64(0.5), np.int32(1)])
def test_numbers_that_32_bits_can_hold_are_sent(value):
    assert sent(presence_penalty=value)["presence_penalty"][2] == np.float32(value).tobytes()


@pytest.mark.parametrize("request_id", [5, b"id", "\ud800"])
def test_a_request_id_is_a_text(request_id):
    for message in (
        lambda: _wire.infer_request("hi", {}, stream=True, request_id=request_id),
        lambda: _wire.command_request("cancel", request_id),
    ):
        with pytest.raises(InvalidRequest, match="request id: got "):
            message()


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (response("thinking", thinking="a", ids=(1, 2)), ThinkingDelta(text="a", ids=(1, 2))),
        (response("injected", thinking="Wait", ids=(3,)), Injected(phase="thinking", text="Wait", ids=(3,))),
        (response("injected", answer="Final Answer:", ids=(4,)), Injected(phase="answer", text="Final Answer:", ids=(4,))),
        (response("thinking_opened", ids=(6,), index=2), ThinkingOpened(ids=(6,), index=2)),
        (response("answer_opened", ids=(5,)), AnswerOpened(ids=(5,))),
        (response("answer", answer="b"), AnswerDelta(text="b", ids=())),
        (response("round_ended", round={**ROUND, "num_of_a_newer_server": 1}), RoundEnded(round=Round(**ROUND))),
        (service_pb2.ModelStreamInferResponse(), None),
    ],
)
def test_each_message_is_one_event(message, event):
    assert _wire.read_events(message) == ([] if event is None else [event])


def test_the_last_event_holds_the_result_and_leaves_out_what_it_does_not_know():
    (done,) = _wire.read_events(response("done", result=RESULT))
    assert isinstance(done, Done)
    assert (done.result.thinking_end, done.result.usage.num_ignored, done.result.total_ms) == ("natural", 1, 2.0)


def test_a_reply_that_is_not_streamed_is_a_message_with_texts_and_result():
    thinking, answer, done = _wire.read_events(response("done", thinking="a", answer="b", ids=(1, 2), result=RESULT))
    assert (thinking, answer) == (ThinkingDelta(text="a", ids=()), AnswerDelta(text="b", ids=()))
    assert done.result.request_id == "r"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("INVALID_ARGUMENT: field 'top_p': got 7, allowed: 0 < top_p <= 1", InvalidRequest),
        ("ENGINE_UNAVAILABLE: the engine is away", ServerNotReady),
        ("DEADLINE: timeout_ms 5 was over", DeadlineExceeded),
        ("CANCELLED: the request was cancelled", Cancelled),
        ("OVERLOADED: 1 of 1 replies run and 0 of 0 requests wait; retry after 1.5 s", Overloaded),
        ("STOPPING: the server is stopping, and takes no more requests", ServerNotReady),
        ("Request for unknown model: 's1' is not found", ServerNotReady),
        ("Request for unknown model: 's1' has no available versions", ServerNotReady),
        ("Stub process 's1_0_0' is not healthy.", ServerNotReady),
        ("ENGINE_FAILED: it broke", EngineFailed),
        ("INTERNAL: unexpected error", ServerFailed),
        ("what nobody has ever said", ServerFailed),
    ],
)
def test_error_messages_become_errors(message, kind):
    with pytest.raises(kind):
        _wire.read_events(service_pb2.ModelStreamInferResponse(error_message=message))


def test_an_error_says_how_far_the_request_had_got():
    message = 'ENGINE_FAILED: it broke\n{"retryable": false, "request_id": "r", "so_far": [{"index": 0, "num_rounds": 2, "usage": {}}]}'
    with pytest.raises(EngineFailed, match="^it broke$") as failed:
        _wire.read_events(service_pb2.ModelStreamInferResponse(error_message=message))
    assert (failed.value.retryable, failed.value.request_id, failed.value.so_far[0]["num_rounds"]) == (False, "r", 2)


@pytest.mark.parametrize(
    "messages",
    [["hi"], [1], {"role": "user"}, [{"role": object()}], [{"role": "user", "content": None}], [{1: "user"}], b"hi", None, 5,
     [{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": "\ud800"}]],
)  # fmt: skip
def test_messages_that_are_none_are_refused(messages):
    with pytest.raises(InvalidRequest) as refused:
        sent(messages)
    assert refused.value.field == "messages"


@pytest.mark.parametrize("details", ["{broken", '{"a": 1}', "second line of a foreign message", ""])
def test_details_that_are_none_do_no_harm(details):
    with pytest.raises(EngineFailed, match="it broke") as failed:
        _wire.read_events(service_pb2.ModelStreamInferResponse(error_message=f"ENGINE_FAILED: it broke\n{details}"))
    assert (failed.value.retryable, list(failed.value.so_far)) == (False, [])


def test_an_overloaded_server_says_when_to_come_back():
    with pytest.raises(Overloaded, match="1 of 1 replies run") as turned_away:
        _wire.read_events(service_pb2.ModelStreamInferResponse(error_message="OVERLOADED: 1 of 1 replies run; retry after 1.5 s"))
    assert turned_away.value.retry_after_s == 1.5


def test_an_event_of_an_unknown_kind_is_an_error():
    with pytest.raises(ServerFailed, match="unknown kind"):
        _wire.read_events(response("news"))


def test_answer_now_is_a_request_of_its_own():
    request = _wire.command_request("answer_now", "mine")
    assert (request.id, [tensor.name for tensor in request.inputs]) == ("mine", ["answer_now"])


def test_a_prompt_that_is_no_text_is_refused():
    with pytest.raises(InvalidRequest) as refused:
        sent("\ud800")
    assert refused.value.field == "text_input"
