# SPDX-License-Identifier: Apache-2.0
"""One reply over gRPC, in the ways that are compared: what is asked, and the ids that come, each message with its time.

The load client shares its machine with the server, so requests are made beforehand, answers are
kept as bytes and looked at when the measuring is over.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

NUM_IGNORE = 2  # ends of thinking that are refused
NUM_PROMPT_IDS = 64
SAMPLED = (b"thinking", b"answer")  # events of s1 that bring sampled ids
_DATATYPES = {np.dtype(np.int32): "INT32", np.dtype(np.bool_): "BOOL", np.dtype(np.object_): "BYTES"}


def num_reply_ids(num_ids: int) -> int:
    """Sampled ids of a reply, consumed terminators left out, over an engine that says ``num_ids`` a call."""
    return (NUM_IGNORE + 2) * num_ids


@dataclass(slots=True)
class Reply:
    """What came of one request: (nanoseconds of CLOCK_MONOTONIC, int32 ids as bytes) for every message with sampled ids."""

    sent_ns: int = field(default_factory=time.monotonic_ns)
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    is_complete: bool = False

    def take(self, ids: bytes) -> None:
        """A message has come just now."""
        if ids:
            self.messages.append((time.monotonic_ns(), ids))

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """All of them, in order."""
        return np.frombuffer(b"".join(ids for _, ids in self.messages), np.int32)


class Wire:
    """Raw ModelStreamInfer calls on one channel; a request is bytes."""

    def __init__(self, url: str) -> None:
        self._channel = grpc.aio.insecure_channel(url)
        self._infer = self._channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )

    async def responses(self, request: bytes) -> AsyncIterator[Any]:
        """The responses to one request. Raises RuntimeError for one that is an error."""
        call = self._infer()
        await call.write(request)
        await call.done_writing()
        while (message := await call.read()) is not grpc.aio.EOF:
            if message.error_message:
                raise RuntimeError(message.error_message)
            yield message.infer_response

    async def close(self) -> None:
        await self._channel.close()


def infer_request(model: str, tensors: dict[str, npt.NDArray[Any]], outputs: Iterable[str] = ()) -> Any:
    """A message with the tensors in the order given; no outputs named = all of them."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in tensors.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype], shape=array.shape)
        request.raw_input_contents.append(array.tobytes() if array.dtype != np.object_ else _string_bytes(array.item()))
    for name in outputs:
        request.outputs.add(name=name)
    return request


def _string_bytes(text: str) -> bytes:
    return len(text.encode()).to_bytes(4, "little") + text.encode()


def int32(*values: int) -> npt.NDArray[np.int32]:
    """A tensor [1, n]."""
    return np.array([values], np.int32)


def text(value: str) -> npt.NDArray[Any]:
    """A tensor [1, 1] of one string."""
    return np.array([[value]], np.object_)


class EngineCall:
    """One call of an engine for as many ids as a whole reply has."""

    def __init__(self, wire: Wire, engine: str, num_ids: int) -> None:
        num_ids = num_reply_ids(num_ids)
        tensors = {
            "input_ids": int32(*range(1, NUM_PROMPT_IDS + 1)),
            "input_lengths": int32(NUM_PROMPT_IDS),
            "request_output_len": int32(num_ids),
            "min_tokens": int32(num_ids),
            "streaming": np.array([[True]]),
        }
        self._wire = wire
        self._request = infer_request(engine, tensors, ("output_ids", "sequence_length")).SerializeToString()

    async def ask(self, reply: Reply) -> None:
        async for response in self._wire.responses(self._request):
            if response.raw_output_contents:
                reply.take(response.raw_output_contents[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """What a client that forces budgets itself puts in, as int32 bytes; ``stop`` is what the engine ends with."""

    stop: int
    ignored: bytes  # "Wait"
    answer: bytes


class ClientLoop:
    """Budget forcing by the client: as many engine calls as ``s1`` makes, ids carried over."""

    def __init__(self, wire: Wire, engine: str, num_ids: int, markers: Markers) -> None:
        tensors = {
            "input_ids": int32(),
            "input_lengths": int32(0),
            "request_output_len": int32(0),
            "stop_words_list": np.array([[[markers.stop], [1]]], np.int32),
            "streaming": np.array([[True]]),
        }
        self._wire = wire
        self._markers = markers
        self._stop = markers.stop.to_bytes(4, "little")
        self._template = infer_request(engine, tensors, ("output_ids", "sequence_length"))

    async def ask(self, reply: Reply) -> None:
        context = int32(*range(1, NUM_PROMPT_IDS + 1)).tobytes()
        context = await self._call(reply, context, 4000)
        for _ in range(NUM_IGNORE):
            context = await self._call(reply, context + self._markers.ignored, 4000)
        await self._call(reply, context + self._markers.answer, 1000)

    async def _call(self, reply: Reply, context: bytes, num_ids: int) -> bytes:
        """The context with what was said, the stop id left out."""
        said = [context]
        async for response in self._wire.responses(self._request(context, num_ids)):
            if response.raw_output_contents and (ids := response.raw_output_contents[0]) != self._stop:
                reply.take(ids)
                said.append(ids)
        return b"".join(said)

    def _request(self, context: bytes, num_ids: int) -> bytes:
        request = self._template
        request.inputs[0].shape[:] = [1, len(context) // 4]
        request.raw_input_contents[0] = context
        request.raw_input_contents[1] = (len(context) // 4).to_bytes(4, "little")
        request.raw_input_contents[2] = num_ids.to_bytes(4, "little")
        return request.SerializeToString()


class ServedLoop:
    """Model ``s1``: one streamed request; all its outputs come, as to any client."""

    def __init__(self, wire: Wire, model: str, question: str = "What is said here is of no importance, only how fast it is said.") -> None:
        tensors = {
            "text_input": text(question),
            "max_thinking_tokens": int32(4000),
            "num_ignore": int32(NUM_IGNORE),
            "max_tokens": int32(1000),
            "stream": np.array([[True]]),
        }
        self._wire = wire
        self._request = infer_request(model, tensors).SerializeToString()

    async def ask(self, reply: Reply) -> None:
        async for response in self._wire.responses(self._request):
            outputs = {output.name: index for index, output in enumerate(response.outputs)}
            contents = response.raw_output_contents
            if outputs and contents[outputs["event"]][4:] in SAMPLED:
                reply.take(contents[outputs["output_ids"]])


class SerialCall:
    """The re-creation of the stock BLS model: text in and out, one engine call for as many ids as a reply has."""

    def __init__(self, wire: Wire, engine: str, num_ids: int) -> None:
        tensors = {
            "text_input": text("What is said here is of no importance, only how fast it is said."),
            "max_tokens": int32(num_reply_ids(num_ids)),
            "engine_model": text(engine),
        }
        self._wire = wire
        self._request = infer_request("serial_bls", tensors).SerializeToString()

    async def ask(self, reply: Reply) -> None:
        async for response in self._wire.responses(self._request):
            for output, content in zip(response.outputs, response.raw_output_contents, strict=True):
                if output.name == "output_ids":
                    reply.take(content)


def round_seams(num_ids: int) -> Iterator[int]:
    """Where in a reply's ids a round begins behind a refused end."""
    return (num_ids * (number + 1) for number in range(NUM_IGNORE))
