# SPDX-License-Identifier: Apache-2.0
"""Converts requests to messages, and messages to events."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor

from s1_client._access import is_text
from s1_client._errors import InvalidRequest
from s1_client._fields import FIELDS
from s1_client._options import Prompt
from s1_client._suggest import unknown
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
from s1_client._wire.errors import from_message
from s1_client._wire.values import check_id, shown, tensor_bytes, values_of

MODEL = "s1"
COMMANDS = ("answer_now", "cancel")
_RANDOM_PART = re.compile(r"(?<!^)~[0-9a-f]{32}\Z")
OPTIONS: dict[str, str] = {row.name: row.datatype for row in FIELDS.values()}


def check_names(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that does not exist."""
    for name in options:
        if name not in OPTIONS:
            raise TypeError(unknown("option", name, OPTIONS))


def check_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that does not exist, and InvalidRequest for a value that its tensor cannot hold."""
    check_names(options)
    for name, value in options.items():
        if value is not None:
            values_of(name, value, OPTIONS[name])


def infer_request(prompt: Prompt, options: Mapping[str, Any], *, stream: bool, request_id: str = "", model: str = MODEL) -> Any:
    """Return the message of a request. ``prompt``: a text, or chat messages with ``role`` and ``content``.

    The server decides on options that are None. Raises TypeError for an unknown option and InvalidRequest for a value
    that its tensor cannot hold.
    """
    check_names(options)
    request = service_pb2.ModelInferRequest(model_name=model, id=check_id(request_id))
    if isinstance(prompt, str):
        _add(request, "text_input", "BYTES", values_of("text_input", prompt, "BYTES"))
    else:
        _add(request, "messages", "BYTES", [_messages(prompt)])
    for name, value in options.items():
        if value is not None:
            _add(request, name, OPTIONS[name], values_of(name, value, OPTIONS[name]))
    _add(request, "stream", "BOOL", [stream])
    return request


def _messages(prompt: Any) -> str:
    if isinstance(prompt, bytes | Mapping) or not isinstance(prompt, Sequence) or not all(map(_is_message, prompt)):
        raise InvalidRequest("messages", shown(prompt), "a text, or a list of {'role': ..., 'content': ...}, all of them texts")
    return json.dumps([dict(message) for message in prompt])


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and all(is_text(part) for entry in message.items() for part in entry)


def id_of_attempt(request_id: str) -> str:
    """Return an id that no other request has, and that the server also knows by the name ``request_id``."""
    return f"{request_id}~{uuid.uuid4().hex}"


def name_of(wire_id: str) -> str:
    """Return the caller's name in an id made by ``id_of_attempt``."""
    return _RANDOM_PART.sub("", wire_id)


def command_request(command: str, request_id: str, *, model: str = MODEL) -> Any:
    """Return the message of a command, "answer_now" or "cancel", for the running request of that id.

    Raises InvalidRequest for an id that no request can have.
    """
    if not check_id(request_id):
        raise InvalidRequest("request id", shown(request_id), "the id of a running request")
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    _add(request, command, "BOOL", [True])
    return request


def _add(request: Any, name: str, datatype: str, values: list[Any]) -> None:
    request.inputs.add(name=name, datatype=datatype, shape=[1, len(values)])
    request.raw_input_contents.append(tensor_bytes(values, datatype))


def streaming_method(channel: Any, *, is_open: bool = False) -> Any:
    """Return ModelStreamInfer of a channel as a method of a single message, or with ``is_open`` of an iterator over messages."""
    return (channel.stream_stream if is_open else channel.unary_stream)(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
    )


def raise_error(response: Any) -> None:
    """Raise the S1Error that a stream message reports, if any."""
    if response.error_message:
        raise from_message(response.error_message)


def answer_to_command(response: Any) -> InvalidRequest | bool:
    """Return what a stream message tells of a command: True = it was obeyed, its error = it was refused, False = nothing.

    A command has the id of its request, so that the message's id does not tell.
    """
    if response.error_message:
        error = from_message(response.error_message)
        return error if isinstance(error, InvalidRequest) and error.field in ("request id", *COMMANDS) else False
    raws = response.infer_response.raw_output_contents
    outputs = dict(zip((output.name for output in response.infer_response.outputs), raws, strict=True))
    return "result" in outputs and "num_requests" in json.loads(_texts(outputs["result"])[0] or "{}")


def read_events(response: Any) -> list[Event]:
    """Return the events of a stream message: none if it has no tensors, and several for whole replies that were not
    streamed. Raises S1Error for an error message.
    """
    raise_error(response)
    raws = response.infer_response.raw_output_contents
    outputs = dict(zip((output.name for output in response.infer_response.outputs), raws, strict=True))
    if not outputs:
        return []
    if _texts(outputs["event"])[0] == "done":
        return list(_whole_replies(outputs))
    return [
        event_of(
            kind=_texts(outputs["event"])[0],
            index=int(np.frombuffer(outputs["index"], np.int32)[0]),
            ids=tuple(np.frombuffer(outputs["output_ids"], np.int32).tolist()),
            thinking=_texts(outputs["thinking_output"])[0],
            answer=_texts(outputs["text_output"])[0],
            round_json=_texts(outputs["round"])[0] if "round" in outputs else "",
            result_json="",
        )
    ]


def _whole_replies(outputs: dict[str, bytes]) -> Iterator[Event]:
    """Yield the events of ended samples. A sample that was streamed has no text left; that of any other sample comes without ids."""
    indices = np.frombuffer(outputs["index"], np.int32).tolist()
    texts = (_texts(outputs[name]) for name in ("thinking_output", "text_output", "result"))
    for index, thinking, answer, result_json in zip(indices, *texts, strict=True):
        if thinking:
            yield ThinkingDelta(text=thinking, ids=(), index=index)
        if answer:
            yield AnswerDelta(text=answer, ids=(), index=index)
        yield Done(result=result_of(json.loads(result_json)), index=index)


def event_of(*, kind: str, index: int, ids: tuple[int, ...], thinking: str, answer: str, round_json: str, result_json: str) -> Event:
    """Return the event that a response's tensors describe. Raises S1Error for an unknown kind."""
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


def _texts(raw: bytes) -> list[str]:
    return [text.decode() for text in deserialize_bytes_tensor(raw)]
