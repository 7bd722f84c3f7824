# SPDX-License-Identifier: Apache-2.0
"""An engine model on a Triton server, over gRPC: by default on the very server we run in.

One ModelStreamInfer call per engine call, raw protobuf messages on one shared channel.
Loopback gRPC rather than BLS because decoupled BLS used by more than one request at a time
deadlocks the server, and because cancelling a gRPC call really stops the engine.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from budgetforce.engine.base import EngineCall, EngineDelta
from budgetforce.engine.tensors import OUTPUTS, call_tensors
from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable, InvalidRequest

_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # an engine that comes back is found within a second
]


class GrpcEngine:
    """Calls ``model_name`` at ``address`` ("host:port"). Belongs to one event loop.

    The connection is made by the first call: while our own model loads, the server does not
    listen yet.

    Attributes:
        heard_at: see ``Engine``.
    """

    def __init__(self, address: str, model_name: str, max_silence_s: float) -> None:
        self.model_name = model_name
        self.heard_at = 0.0
        self._address = address
        self._max_silence_s = max_silence_s
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def is_ready(self) -> bool:
        try:
            return bool((await self._stub.ModelReady(service_pb2.ModelReadyRequest(name=self.model_name))).ready)
        except grpc.aio.AioRpcError:
            return False

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        """See ``Engine.stream``. Reads on while nobody asks for more, so that what has come is taken in one."""
        responses = self._stub.ModelStreamInfer(_once(self._infer_request(call)))
        heard = _Heard()
        reading = asyncio.create_task(self._read(responses, heard))
        reading.add_done_callback(_look_at_its_end)
        try:
            while (delta := await heard.take(self._max_silence_s)) is not None:
                yield delta
            await reading  # raises what ended it
        except TimeoutError as error:
            raise EngineUnavailable(f"engine '{self.model_name}' has said nothing for {self._max_silence_s} s") from error
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"engine '{self.model_name}' at {self._address}: {error.details()}") from error
        finally:
            reading.cancel()
            responses.cancel()  # without effect on a call that is over

    async def _read(self, responses: Any, heard: _Heard) -> None:
        try:
            async for response in responses:
                self.heard_at = time.monotonic()
                if response.error_message:
                    await _read_to_end(responses)
                    raise await self._explain(response.error_message)
                heard.add(response.infer_response)
        finally:
            heard.close()

    async def _explain(self, message: str) -> BudgetForceError:
        refused = InvalidRequest.parse(message)
        if refused is not None:
            return refused
        if not await self.is_ready():
            return EngineUnavailable(
                f"engine model '{self.model_name}' is not loaded at {self._address}; load it, or choose another engine"
            )
        return EngineFailed(f"engine '{self.model_name}': {message.splitlines()[0]}")

    def _infer_request(self, call: EngineCall) -> Any:
        request = service_pb2.ModelInferRequest(model_name=self.model_name, id=call.request_id)
        for name, tensor in call_tensors(call).items():
            request.inputs.add(name=name, datatype=np_to_triton_dtype(tensor.dtype), shape=tensor.shape)
            request.raw_input_contents.append(tensor.tobytes())
        for name in OUTPUTS:
            request.outputs.add(name=name)
        return request


class _Heard:
    """Ids that have come and were not taken yet."""

    def __init__(self) -> None:
        self._ids = array("i")
        self._reused_blocks: int | None = None
        self._is_over = False
        self._news = asyncio.Event()

    def add(self, response: Any) -> None:
        """Take in one response of the engine: the tensors of ``OUTPUTS``, by name."""
        if not response.raw_output_contents:
            return
        raw = dict(zip([output.name for output in response.outputs], response.raw_output_contents, strict=True))
        num_ids, ids = _int32(raw["sequence_length"]), raw["output_ids"]
        if not 0 <= 4 * num_ids <= len(ids):
            raise EngineFailed(f"the engine broke its contract: sequence_length {num_ids} for {len(ids) // 4} ids")
        self._ids.frombytes(ids[: 4 * num_ids])  # what is behind is padding
        if "kv_cache_reused_blocks" in raw:
            self._reused_blocks = _int32(raw["kv_cache_reused_blocks"])
        self._news.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._news.set()

    async def take(self, max_silence_s: float) -> EngineDelta | None:
        """All that has come; None at the end. Raises TimeoutError when nothing does."""
        if not self._news.is_set():
            async with asyncio.timeout(max_silence_s):
                await self._news.wait()
        if self._is_over and not self._ids:
            return None
        delta = EngineDelta(ids=tuple(self._ids), kv_reused_blocks=self._reused_blocks)
        self._ids = array("i")
        if not self._is_over:
            self._news.clear()
        return delta


def _int32(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little", signed=True)


def _look_at_its_end(task: asyncio.Task[None]) -> None:
    """Whoever left early does not want to know how it ended; asyncio would complain."""
    if not task.cancelled():
        task.exception()


async def _once(request: Any) -> AsyncIterator[Any]:
    yield request


async def _read_to_end(responses: Any) -> None:
    """An error is the last message, but a stream that is cancelled in the moment it ends
    can leave a reference to the model behind in Triton 24.10, which then stops late.
    """
    async for _ in responses:
        pass
