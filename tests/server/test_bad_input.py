# SPDX-License-Identifier: Apache-2.0
"""Bad input through the real server: a clean error that names field, value and what is allowed; the server goes on."""

import json

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s1_client import InvalidRequest, ServerNotReady
from s1_client._wire.errors import from_message

TYPES = {"BYTES": None, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "UINT64": np.uint64, "BOOL": np.bool_}


@pytest.fixture(scope="module")
def ask(triton):
    """Ask ``s1`` with raw tensors: (name, type, values[, shape]); the error that comes back."""
    with grpc.insecure_channel(triton.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def send(*tensors, model="s1"):
            request = service_pb2.ModelInferRequest(model_name=model)
            for name, datatype, values, *shape in tensors:
                request.inputs.add(name=name, datatype=datatype, shape=shape[0] if shape else [1, len(values)])
                raw = (
                    b"".join(len(v).to_bytes(4, "little") + v for v in values)
                    if datatype == "BYTES"
                    else np.array(values, TYPES[datatype]).tobytes()
                )
                request.raw_input_contents.append(raw)
            messages = [response.error_message for response in stub.ModelStreamInfer(iter([request]), timeout=60)]
            assert not any(messages[:-1])
            return messages[-1] or None

        yield send


TEXT = ("text_input", "BYTES", [b"hello"])
SHORT = [("max_thinking_tokens", "INT32", [4]), ("max_tokens", "INT32", [2])]


def messages(value):
    return ("messages", "BYTES", [value if isinstance(value, bytes) else json.dumps(value).encode()])


def number(name, value):
    types = {"temperature": "FP32", "top_p": "FP32", "repetition_penalty": "FP32", "presence_penalty": "FP32", "frequency_penalty": "FP32"}
    return (name, types.get(name, "INT32"), [value])


CASES = {
    "empty prompt": ([("text_input", "BYTES", [b""])], "text_input", "not empty"),
    "blank prompt": ([("text_input", "BYTES", [b" \n"])], "text_input", "not empty"),
    "no prompt": ([number("num_ignore", 1)], "text_input", "either text_input or messages"),
    "two prompts": ([TEXT, messages([{"role": "user", "content": "x"}])], "text_input", "not both"),
    "prompt that is no UTF-8": ([("text_input", "BYTES", [b"\xff\xfe"])], "text_input", "UTF-8"),
    "messages that are no JSON": ([messages(b"[{")], "messages", "JSON list"),
    "messages nested without end": ([messages(b"[" * 100_000)], "messages", "JSON list"),
    "messages that are no list": ([messages({"role": "user"})], "messages", "JSON list"),
    "no messages": ([messages([])], "messages", "JSON list"),
    "unknown role": ([messages([{"role": "robot", "content": "x"}])], "messages", "system, user, assistant"),
    "message without content": ([messages([{"role": "user"}])], "messages", "content"),
    "message with an unknown key": ([messages([{"role": "user", "content": "x", "name": "y"}])], "messages", "role"),
    "content that is no text": ([messages([{"role": "user", "content": 3}])], "messages", "content"),
    "content that is empty": ([messages([{"role": "user", "content": ""}])], "messages", "no content empty"),
    "role that is a lone surrogate": ([messages(b'[{"role": "\\ud800", "content": "x"}]')], "messages", "system, user, assistant"),
    "messages that are one long number": ([messages(b"[" + b"1" * 5000 + b"]")], "messages", "JSON list"),
    "lone surrogate": ([messages(b'[{"role": "user", "content": "\\ud800"}]')], "messages", "UTF-8"),
    "last message not the user's": ([messages([{"role": "assistant", "content": "x"}])], "messages", "last one from user"),
    "thinking budget below -1": ([TEXT, number("max_thinking_tokens", -2)], "max_thinking_tokens", ">= -1"),
    "thinking budget beyond the context": ([TEXT, number("max_thinking_tokens", 2**31 - 1)], "max_thinking_tokens", "context holds 2048"),
    "num_ignore below 0": ([TEXT, number("num_ignore", -1)], "num_ignore", ">= 0"),
    "floor above the budget": (
        [TEXT, number("min_thinking_tokens", 9), number("max_thinking_tokens", 8)],
        "min_thinking_tokens",
        "0 to 8",
    ),
    "floor beyond the context": ([TEXT, number("min_thinking_tokens", 9000)], "min_thinking_tokens", "the context leave"),
    "floor below 0": ([TEXT, number("min_thinking_tokens", -1)], "min_thinking_tokens", ">= 0"),
    "grace beyond the context": ([TEXT, number("grace_tokens", 9000)], "grace_tokens", "context of 2048"),
    "ignore string that is a control token": ([TEXT, ("ignore_str", "BYTES", [b"<|im_end|>"])], "ignore_str", "without <|im_end|>"),
    "no ignore string at all": ([TEXT, ("ignore_str", "BYTES", [])], "ignore_str", "at least one string"),
    "answer prefix longer than the reserve": ([TEXT, ("answer_prefix", "BYTES", [b"word " * 300])], "answer_prefix", "at most 512 tokens"),
    "unknown prefix policy": ([TEXT, ("answer_prefix_policy", "BYTES", [b"maybe"])], "answer_prefix_policy", "auto, always, never"),
    "unknown thinking mode": ([TEXT, ("thinking", "BYTES", [b"hard"])], "thinking", "forced, free, off"),
    "budget without forcing": ([TEXT, ("thinking", "BYTES", [b"free"]), number("num_ignore", 1)], "num_ignore", "thinking is free"),
    "no sample": ([TEXT, number("num_samples", 0)], "num_samples", "1 to 64"),
    "many greedy samples": ([TEXT, number("num_samples", 2)], "num_samples", "temperature 0"),
    "thinking_top_p 0": ([TEXT, ("thinking_top_p", "FP32", [0])], "thinking_top_p", "0 < thinking_top_p <= 1"),
    "answer now with a prompt": ([TEXT, ("answer_now", "BOOL", [True])], "text_input", "stands alone"),
    "answer now to nobody": ([("answer_now", "BOOL", [True])], "request id", "a running request"),
    "preset of another model": ([TEXT, ("preset", "BYTES", [b"qwen3"])], "preset", "fits the served model"),
    "answer cap of 0": ([TEXT, number("max_tokens", 0)], "max_tokens", ">= 1"),
    "answer cap beyond the context": ([TEXT, number("max_tokens", 9000)], "max_tokens", "context of 2048"),
    "temperature below 0": ([TEXT, number("temperature", -0.1)], "temperature", ">= 0"),
    "temperature NaN": ([TEXT, number("temperature", float("nan"))], "temperature", ">= 0"),
    "temperature infinite": ([TEXT, number("temperature", float("inf"))], "temperature", ">= 0"),
    "top_p 0": ([TEXT, number("top_p", 0)], "top_p", "0 < top_p <= 1"),
    "top_p above 1": ([TEXT, number("top_p", 1.01)], "top_p", "0 < top_p <= 1"),
    "top_p NaN": ([TEXT, number("top_p", float("nan"))], "top_p", "0 < top_p <= 1"),
    "top_k below 0": ([TEXT, number("top_k", -1)], "top_k", ">= 0"),
    "repetition penalty 0": ([TEXT, number("repetition_penalty", 0)], "repetition_penalty", "> 0"),
    "presence penalty out of range": ([TEXT, number("presence_penalty", 3)], "presence_penalty", "-2 to 2"),
    "frequency penalty out of range": ([TEXT, number("frequency_penalty", -3)], "frequency_penalty", "-2 to 2"),
    "unknown preset": ([TEXT, ("preset", "BYTES", [b"s2"])], "preset", "one of qwen3, s1, s1-eval, s1-readme, smollm2"),
    "prompt longer than the context": ([("text_input", "BYTES", [b"word " * 9000])], "text_input", "context holds 2048"),
    "bad words of several tokens": ([TEXT, *SHORT, ("bad_words", "BYTES", [b"a", b"a long sequence"])], "bad_words", "a single token each"),
    "bad words of several tokens for the thinking": (
        [TEXT, *SHORT, ("thinking_bad_words", "BYTES", [b"a long sequence"])],
        "thinking_bad_words",
        "a single token each",
    ),
    "penalty on a thought of several rounds": ([TEXT, number("presence_penalty", 1)], "presence_penalty", "num_ignore 1"),
    "stop word within the answer's prefix": ([TEXT, ("stop_words", "BYTES", [b"Answer"])], "stop_words", "Final Answer:"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_value_is_refused_naming_field_value_and_what_is_allowed(ask, name):
    tensors, field, allowed = CASES[name]
    error = from_message(ask(*tensors) or "no error")
    assert isinstance(error, InvalidRequest), error
    assert error.field == field
    assert error.value
    assert allowed in error.allowed
    assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([TEXT, ("max_tokens", "INT64", [3])], ["max_tokens", "INT64", "INT32"]),
        ([("text_input", "INT32", [3])], ["text_input", "INT32", "BYTES"]),
        ([TEXT, ("max_tokens", "INT32", [3, 4])], ["max_tokens", "[1,2]", "[1,1]"]),
        ([("text_input", "BYTES", [b"hello"], [1])], ["text_input", "[1]"]),
        ([TEXT, ("max_words", "INT32", [3])], ["max_words"]),
        ([("text_input", "BYTES", [b"a", b"b"], [2, 1])], ["text_input", "[2,1]", "[1,1]"]),
    ],
)
def test_a_wrong_type_shape_or_name_is_refused_by_triton(ask, tensors, words):
    """Before our code sees it; the message names the tensor, what came and what is expected."""
    message = ask(*tensors)
    assert all(word in message for word in words), message


def empty(name, datatype, *shape):
    return (name, datatype, [], [*shape])


SHAPES = {
    "a list of no strings in a batch of none": [empty("stop_words", "BYTES", 0, 0)],
    "lists of no strings in batches of none": [empty("stop_words", "BYTES", 0, 0), empty("bad_words", "BYTES", 0, 0)],
    "a list in a batch of none": [("stop_words", "BYTES", [b"a", b"b"], [0, 2])],
    "all in a batch of none": [("text_input", "BYTES", [b"hi"], [0, 1]), ("max_tokens", "INT32", [2], [0, 1])],
    "one of two in a batch of none": [TEXT, ("max_tokens", "INT32", [2], [0, 1])],
    "a text of no elements": [empty("text_input", "BYTES", 1, 0)],
    "a number of no elements": [TEXT, empty("max_tokens", "INT32", 1, 0)],
    "a flag in a batch of none": [TEXT, empty("stream", "BOOL", 0, 1)],
    "a batch of two": [("text_input", "BYTES", [b"a", b"b"], [2, 1])],
    "no dimension": [("text_input", "BYTES", [b"a"], [])],
    "three dimensions": [("text_input", "BYTES", [b"a"], [1, 1, 1])],
    "a negative dimension": [("text_input", "BYTES", [b"a"], [1, -1])],
    "no tensor": [],
    "one word and the shape of two": [TEXT, ("stop_words", "BYTES", [b"a"], [1, 2])],
}


@pytest.mark.parametrize("model", ["s1", "s1_bls"])
@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_that_is_not_the_fields_is_answered_with_one_refusal(ask, name, model):
    """In a batch of 0 Triton would give the model nothing, and the client no answer."""
    assert ask(*SHAPES[name], model=model)


def test_an_empty_list_is_no_mistake(ask):
    assert ask(TEXT, *SHORT, empty("stop_words", "BYTES", 1, 0)) is None


def test_an_engine_that_is_not_loaded_is_unavailable(ask):
    """Named, with what to do about it."""
    error = from_message(ask(TEXT, model="s1_lost"))
    assert isinstance(error, ServerNotReady)
    assert "tensorrt_llm" in str(error)
    assert "not loaded" in str(error)


def test_an_unknown_model_is_unavailable_too(ask):
    assert isinstance(from_message(ask(TEXT, model="s9")), ServerNotReady)


def test_the_server_goes_on_after_bad_input(ask):
    """After everything above, a good request is answered."""
    assert ask(TEXT, *SHORT) is None
