# SPDX-License-Identifier: Apache-2.0
"""Requests to messages, messages to events. No connection, no thread, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from s1_client._errors import InvalidRequest, from_message
from s1_client._options import Prompt
from s1_client._ranges import integers_of
from s1_client._types import (
    AnswerDelta,
    AnswerOpened,
    Done,
    Event,
    Injected,
    Round,
    RoundEnded,
    ThinkingDelta,
    ThinkingOpened,
    known,
    result_of,
)

MODEL = "s1"
# Tensor type of every option, as model_repository/s1/config.pbtxt has it.
_SAMPLING = {
    "bad_words": "BYTES",
    "temperature": "FP32",
    "top_k": "INT32",
    "top_p": "FP32",
    "seed": "UINT64",
    "repetition_penalty": "FP32",
    "presence_penalty": "FP32",
    "frequency_penalty": "FP32",
}
OPTIONS: dict[str, str] = {
    "preset": "BYTES",
    "thinking": "BYTES",
    "max_thinking_tokens": "INT32",
    "min_thinking_tokens": "INT32",
    "num_ignore": "INT32",
    "ignore_str": "BYTES",
    "grace_tokens": "INT32",
    "answer_prefix": "BYTES",
    "answer_prefix_policy": "BYTES",
    "max_tokens": "INT32",
    "stop_words": "BYTES",
    "num_samples": "INT32",
    "priority": "INT32",
    "timeout_ms": "INT32",
    "on_timeout": "BYTES",
    **_SAMPLING,
    **{f"thinking_{name}": datatype for name, datatype in _SAMPLING.items()},
}
_DTYPES: dict[str, Any] = {"INT32": np.int32, "UINT64": np.uint64, "FP32": np.float32, "BOOL": np.bool_}


def check_names(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that there is not."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise TypeError(f"unknown option '{unknown[0]}'; known: {', '.join(OPTIONS)}")


def infer_request(prompt: Prompt, options: Mapping[str, Any], *, stream: bool, request_id: str = "", model: str = MODEL) -> Any:
    """The message that asks ``prompt``: a text, or chat messages with ``role`` and ``content``.

    Options that are None are left to the server. Raises TypeError for an unknown option and
    InvalidRequest for a value that its tensor cannot hold.
    """
    check_names(options)
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    if isinstance(prompt, str):
        _add(request, "text_input", "BYTES", [prompt])
    else:
        _add(request, "messages", "BYTES", [_messages(prompt)])
    for name, value in options.items():
        if value is not None:
            values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
            _add(request, name, OPTIONS[name], values)
    _add(request, "stream", "BOOL", [stream])
    return request


def _messages(prompt: Sequence[Mapping[str, str]]) -> str:
    try:
        return json.dumps([dict(message) for message in prompt])
    except (TypeError, ValueError):
        raise InvalidRequest("messages", repr(prompt)[:80], "a text, or a list of {'role': ..., 'content': ...}") from None


def command_request(command: str, request_id: str, *, model: str = MODEL) -> Any:
    """The message that tells the running request of that id to "answer_now" or "cancel"."""
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    _add(request, command, "BOOL", [True])
    return request


def _add(request: Any, name: str, datatype: str, values: list[Any]) -> None:
    request.inputs.add(name=name, datatype=datatype, shape=[1, len(values)])
    if datatype == "BYTES":
        raw = serialize_byte_tensor(np.array([_utf8(name, value) for value in values], np.object_)).item() if values else b""
    else:
        raw = np.array([_checked(name, value, _DTYPES[datatype]) for value in values], _DTYPES[datatype]).tobytes()
    request.raw_input_contents.append(raw)


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except (UnicodeEncodeError, AttributeError):
        raise InvalidRequest(name, ascii(text)[:80], "text that UTF-8 can hold") from None


def _checked(name: str, value: Any, dtype: Any) -> Any:
    """``value``, if its tensor can hold it: numpy 1 would wrap a number around without a word."""
    if dtype in (np.int32, np.uint64):
        limits = np.iinfo(dtype)
        if not isinstance(value, int | np.integer) or not limits.min <= value <= limits.max:
            least, most = integers_of(name, limits.min, limits.max)
            raise InvalidRequest(name, repr(value), f"an integer from {least} to {most}")
    elif dtype is np.float32 and not isinstance(value, int | float | np.number):
        raise InvalidRequest(name, repr(value), "a number")
    return value


def streaming_method(channel: Any) -> Any:
    """ModelStreamInfer of a channel, for one message: the same to a server as a stream of one.

    As a stream, grpcio's asyncio loses why a server ended a call before its message was sent.
    """
    return channel.unary_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
    )


def raise_error(response: Any) -> None:
    """Raise the S1Error that a stream message tells of, if it does."""
    if response.error_message:
        raise from_message(response.error_message)


def read_response(response: Any) -> Event | None:
    """The event of one stream message; None for one without tensors. Raises S1Error for an error message."""
    raise_error(response)
    raws = response.infer_response.raw_output_contents
    outputs = dict(zip((output.name for output in response.infer_response.outputs), raws, strict=True))
    return _event(outputs) if outputs else None


def _event(outputs: dict[str, bytes]) -> Event:
    return event_of(
        kind=_text(outputs["event"]),
        index=int(np.frombuffer(outputs["index"], np.int32)[0]),
        ids=tuple(np.frombuffer(outputs["output_ids"], np.int32).tolist()),
        thinking=_text(outputs["thinking_output"]),
        answer=_text(outputs["text_output"]),
        round_json=_text(outputs["round"]) if "round" in outputs else "",
        result_json=_text(outputs["result"]) if "result" in outputs else "",
    )


def event_of(*, kind: str, index: int, ids: tuple[int, ...], thinking: str, answer: str, round_json: str, result_json: str) -> Event:
    """The event that a response's tensors are. Raises S1Error for a kind that there is not."""
    match kind:
        case "thinking_opened":
            return ThinkingOpened(ids=ids, index=index)
        case "thinking":
            return ThinkingDelta(text=thinking, ids=ids, index=index)
        case "injected":
            return Injected(text=thinking or answer, ids=ids, index=index, phase="thinking" if thinking else "answer")
        case "answer_opened":
            return AnswerOpened(ids=ids, index=index)
        case "answer":
            return AnswerDelta(text=answer, ids=ids, index=index)
        case "round_ended":
            return RoundEnded(round=known(Round, json.loads(round_json)), index=index)
        case "done":
            return Done(result=result_of(json.loads(result_json)), index=index)
    raise from_message(f"the server sent an event of an unknown kind: '{kind}'")


def _text(raw: bytes) -> str:
    return str(deserialize_bytes_tensor(raw)[0].decode())
