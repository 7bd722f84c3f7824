# SPDX-License-Identifier: Apache-2.0
"""The server's side of the wire: reads request messages, and writes events and errors as messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from s1_client._errors import InvalidRequest, S1Error
from s1_client._fields import FIELDS
from s1_client._types import Done, Event, Injected, RoundEnded
from s1_client._wire.errors import to_message
from s1_client._wire.values import LISTS
from s1_client.testing._bounds import MAX_MESSAGES, check_size, check_sizes, refuse_parameters
from s1_client.testing._forcing import result_json

_DTYPES: dict[str, Any] = {"INT32": np.int32, "UINT64": np.uint64, "FP32": np.float32, "BOOL": np.bool_}
_WITHOUT_FREE = ("forced", "off")  # thinking="free" needs a model that decides


def read_inputs(request: Any) -> dict[str, Any]:
    """Return the values of a request's tensors by name. Raises InvalidRequest for a value that is not allowed."""
    refuse_parameters(request)
    inputs = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if tensor.datatype == "BYTES":
            strings = deserialize_bytes_tensor(raw)
            check_sizes(tensor.name, strings)
            values = [string.decode() for string in strings]
        else:
            values = np.frombuffer(raw, _DTYPES[tensor.datatype]).tolist()
        inputs[tensor.name] = values if tensor.name in LISTS else values[0]
    for name, value in inputs.items():
        _check(name, value)
    return inputs


def _check(name: str, value: Any) -> None:
    if name == "text_input" and not value.strip():
        raise InvalidRequest(name, repr(value), "a text that is not empty")
    if name == "thinking" and value not in _WITHOUT_FREE:
        raise InvalidRequest(name, repr(value), "one of forced, off (and free, of a real server)")
    if name in FIELDS and not FIELDS[name].accepts(value):
        raise InvalidRequest(name, repr(value), FIELDS[name].allowed)


def options_of(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the options among the inputs. Raises InvalidRequest for two that contradict each other."""
    options = {name: value for name, value in inputs.items() if name in FIELDS}
    if "reasoning_effort" in options and "max_thinking_tokens" in options:
        raise InvalidRequest("reasoning_effort", repr(options["reasoning_effort"]), "nothing beside max_thinking_tokens")
    floor, cap = options.get("min_thinking_tokens", 0), options.get("max_thinking_tokens", -1)
    if cap != -1 and floor > cap:
        raise InvalidRequest("min_thinking_tokens", repr(floor), f"0 to {cap}, by max_thinking_tokens")
    if options.get("num_samples", 1) > 1 and not options.get("temperature"):
        raise InvalidRequest("num_samples", repr(options["num_samples"]), "1 at temperature 0")
    if (total := options.get("max_total_tokens")) is not None:
        _check_parts(options, total)
    return options


def _check_parts(options: dict[str, Any], total: int) -> None:
    """Raise InvalidRequest for a part that leaves nothing of ``max_total_tokens``: an answer has at least one token."""
    for name, least, most in (("max_thinking_tokens", -1, total - 1), ("max_tokens", 1, total)):
        if options.get(name, least) > most:
            where = f"max_total_tokens {total} bounds thinking and answer together"
            raise InvalidRequest(name, repr(options[name]), f"{least} to {most}: {where}")


def prompt_of(inputs: dict[str, Any]) -> str | list[dict[str, str]]:
    """Return the question or the chat's messages. Raises InvalidRequest unless the request has exactly one of them."""
    if ("text_input" in inputs) == ("messages" in inputs):
        raise InvalidRequest("text_input", "neither or both", "either text_input or messages")
    if "text_input" in inputs:
        return str(inputs["text_input"])
    messages: list[dict[str, str]] = json.loads(inputs["messages"])
    check_size("messages", len(messages), MAX_MESSAGES, "messages")
    if not messages or messages[-1].get("role") != "user":
        raise InvalidRequest("messages", inputs["messages"], "a list of messages, the last one from user")
    if not all(message["content"].strip() for message in messages):
        raise InvalidRequest("messages", inputs["messages"], "a list of messages, no content empty")
    return messages


def message_of(event: Event) -> Any:
    """Return the stream message that holds an event."""
    texts = {"event": event.kind, "thinking_output": "", "text_output": ""}
    texts["thinking_output" if _is_thinking(event) else "text_output"] = event.text
    if isinstance(event, RoundEnded):
        texts["round"] = json.dumps(asdict(event.round))
    if isinstance(event, Done):
        texts["result"] = json.dumps(result_json(event.result, event.index))
    return _message({name: [text] for name, text in texts.items()}, event.ids, [event.index])


def whole_message(events: Sequence[Event]) -> Any:
    """Return the only message of a request that does not stream: an element for each sample, with all its text."""
    done = sorted((event for event in events if isinstance(event, Done)), key=lambda event: event.index)
    samples = [[event for event in events if event.index == end.index] for end in done]
    texts = {
        "event": ["done"] * len(done),
        "thinking_output": ["".join(event.text for event in sample if _is_thinking(event)) for sample in samples],
        "text_output": ["".join(event.text for event in sample if not _is_thinking(event)) for sample in samples],
        "result": [json.dumps(result_json(end.result, end.index)) for end in done],
    }
    return _message(texts, [token_id for sample in samples for event in sample for token_id in event.ids], [end.index for end in done])


def _is_thinking(event: Event) -> bool:
    return event.kind == "thinking" or (isinstance(event, Injected) and event.phase == "thinking")


def _message(texts: dict[str, list[str]], ids: Sequence[int], indices: Sequence[int]) -> Any:
    message = service_pb2.ModelStreamInferResponse()
    for name, values in texts.items():
        raw = serialize_byte_tensor(np.array([text.encode() for text in values], np.object_)).item()
        _add(message.infer_response, name, "BYTES", len(values), raw)
    for name, numbers in (("output_ids", ids), ("index", indices)):
        _add(message.infer_response, name, "INT32", len(numbers), np.array(numbers, np.int32).tobytes())
    return message


def command_response(request_id: str) -> Any:
    """Return the stream message that answers a command."""
    message = service_pb2.ModelStreamInferResponse()
    raw = serialize_byte_tensor(np.array([json.dumps({"request_id": request_id, "num_requests": 1}).encode()], np.object_)).item()
    _add(message.infer_response, "result", "BYTES", 1, raw)
    return message


def _add(response: Any, name: str, datatype: str, length: int, raw: bytes) -> None:
    response.outputs.add(name=name, datatype=datatype, shape=[1, length])
    response.raw_output_contents.append(raw)


def error_message(error: S1Error, request_id: str, so_far: Sequence[Any] = ()) -> Any:
    """Return the stream message that reports an error."""
    return service_pb2.ModelStreamInferResponse(error_message=to_message(error, request_id, so_far))
