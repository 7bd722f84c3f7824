# SPDX-License-Identifier: Apache-2.0
"""Calls an engine model on a Triton server over gRPC; by default on the same server.

Each engine call is a ModelStreamInfer call; all share a single connection. Loopback gRPC is used
instead of BLS because decoupled BLS from several requests at a time deadlocks the server, and
because cancelling a gRPC call does stop the engine.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from budgetforce.engine import kserve
from budgetforce.engine.base import EngineCall, EngineDelta, parse_engine_error
from budgetforce.engine.call_limits import limits_of
from budgetforce.engine.endpoint import Endpoint
from budgetforce.engine.grpc_calls import CallFailed, GrpcCall, GrpcCalls
from budgetforce.engine.tensors import OUTPUTS, Array, call_tensors, stop_tensors
from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable

_SERVICE = "inference.GRPCInferenceService"
_SWEEP_S = 1.0  # interval of the search for silent calls
_ANSWER_TIMEOUT_S = 2.0  # for requests that the server answers without a model
_STOP_PATIENCE_S = 1.0  # for a stopped call to end
_CANCELS_SAFELY = (2, 57)  # Triton 25.04; see _end


class GrpcEngine:
    """Implements ``Engine`` over gRPC to ``model_name`` at ``endpoint``. Belongs to a single event loop.

    The first call opens the connection: while our own model loads, the server does not listen yet.
    """

    def __init__(self, endpoint: Endpoint, model_name: str, max_silence_s: float) -> None:
        self.model_name = model_name
        self.last_ids_at = 0.0
        self.keeps_min_tokens = limits_of(model_name).keeps_min_tokens
        self._address = endpoint.address
        self._max_silence_s = max_silence_s
        self._calls = GrpcCalls(endpoint)
        self._buffers: set[_ResponseBuffer] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._cancels_safely: bool | None = None
        self._sweep()

    async def close(self) -> None:
        self._sweeping.cancel()
        if self._ending:
            await asyncio.wait(self._ending, timeout=_STOP_PATIENCE_S)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._calls.close()

    async def is_ready(self) -> bool:
        try:
            response = await self._ask("ModelReady", kserve.ModelReadyRequest(name=self.model_name))
        except CallFailed:
            return False
        return bool(kserve.ModelReadyResponse.FromString(response).ready)

    async def _ask(self, method: str, request: Any) -> bytes:
        """Make a call with a single response. Raises CallFailed, also on a timeout."""
        responses: list[bytes] = []
        call = self._calls.start(f"{_SERVICE}/{method}", request.SerializeToString(), responses.append)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await call.ended
        except TimeoutError:
            raise CallFailed(f"no response to {method} within {_ANSWER_TIMEOUT_S} s") from None
        finally:
            call.cancel()
        if not responses:
            raise CallFailed(f"an empty response to {method}")
        return responses[0]

    def give_up_silent_calls(self, since: float, *, begun_only: bool) -> None:
        """End silent calls: in Triton 24.10 a decoupled call does not end when the process that computes it dies."""
        for buffer in self._buffers:
            if buffer.last_ids_at < since and (buffer.has_begun or not begun_only):
                buffer.fail(EngineUnavailable(f"engine '{self.model_name}' went silent and answers no other call either"))

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        """Run a call; ids that arrive while the consumer is busy are delivered together."""
        buffer = _ResponseBuffer(self)
        request = self._stream_request(call.request_id, call_tensors(call))
        headers = (f"traceparent: {call.traceparent}",) if call.traceparent else ()
        running = self._calls.start(f"{_SERVICE}/ModelStreamInfer", request, buffer.receive, headers)
        running.ended.add_done_callback(buffer.close)
        self._buffers.add(buffer)
        try:
            is_first = True  # a round's first ids wait for nothing
            while await buffer.wait_for_ids():
                if call.ready is not None and not is_first:
                    await buffer.wait_for(call.ready())
                is_first = False
                yield buffer.take_ids()
            await self._raise_failure(buffer, running)
        finally:
            self._buffers.discard(buffer)
            if not running.ended.done():
                self._leave(call.request_id, running)

    def _leave(self, request_id: str, running: GrpcCall) -> None:
        task = asyncio.create_task(self._end(request_id, running))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, request_id: str, running: GrpcCall) -> None:
        """End an abandoned call. Before 25.04 Triton's gRPC front end may crash when a stream is cancelled while a
        response is under way (once in some thousand times): there the model receives a stop request, and the
        stream is read to its end. A stream that still stays silent can be cancelled safely.
        """
        calls = [running]
        try:
            if not await self._may_cancel():
                stop = self._stream_request(request_id, stop_tensors())
                calls.append(self._calls.start(f"{_SERVICE}/ModelStreamInfer", stop, lambda _: None))
                await asyncio.wait([call.ended for call in calls], timeout=_STOP_PATIENCE_S)
        except CallFailed:
            pass  # the server is gone, and the call with it
        finally:
            for call in calls:
                call.cancel()

    async def _may_cancel(self) -> bool:
        if self._cancels_safely is None:
            response = await self._ask("ServerMetadata", kserve.ServerMetadataRequest())
            version = kserve.ServerMetadataResponse.FromString(response).version
            self._cancels_safely = tuple(map(int, version.split(".")[:2])) >= _CANCELS_SAFELY
        return self._cancels_safely

    async def _raise_failure(self, buffer: _ResponseBuffer, call: GrpcCall) -> None:
        if buffer.failure is not None:
            raise buffer.failure
        if buffer.error_message:
            raise await self._explain(buffer.error_message)
        try:
            await call.ended
        except CallFailed as error:
            raise EngineUnavailable(f"engine '{self.model_name}' at {self._address}: {error}") from error

    async def _explain(self, message: str) -> BudgetForceError:
        error = parse_engine_error(message, self.model_name)
        if isinstance(error, EngineFailed) and not await self.is_ready():
            return EngineUnavailable(
                f"engine model '{self.model_name}' is not loaded at {self._address}; load it, or choose another engine"
            )
        return error

    def _stream_request(self, request_id: str, tensors: Mapping[str, Array]) -> bytes:
        request = kserve.ModelInferRequest(model_name=self.model_name, id=request_id)
        for name, tensor in tensors.items():
            request.inputs.add(name=name, datatype=kserve.DATATYPES[tensor.dtype.name], shape=tensor.shape)
            request.raw_input_contents.append(tensor.tobytes())
        for name in OUTPUTS:
            request.outputs.add(name=name)
        return bytes(request.SerializeToString())

    def _sweep(self) -> None:
        """Fail the calls that have been silent for too long, now and every ``_SWEEP_S``."""
        now = time.monotonic()
        for buffer in self._buffers:
            if now - buffer.last_ids_at > self._max_silence_s:
                buffer.fail(EngineUnavailable(f"engine '{self.model_name}' has sent no ids for {self._max_silence_s} s"))
        self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)


class _ResponseBuffer:
    """Buffers ids of a call that have arrived but were not taken yet.

    Attributes:
        last_ids_at: when the last ids arrived; before them, when the call began.
        has_begun: whether ids have arrived.
        error_message: the engine's error, its last message. The stream's end is awaited nevertheless: in Triton 24.10
            a stream cancelled at that moment can leave a reference to the model, which then stops late.
        failure: any other error that ended the call.
    """

    def __init__(self, engine: GrpcEngine) -> None:
        self.last_ids_at = time.monotonic()
        self.has_begun = False
        self.error_message = ""
        self.failure: BudgetForceError | None = None
        self._engine = engine
        self._ids = array("i")
        self._reused_blocks: int | None = None
        self._is_over = False
        self._waiter: asyncio.Future[None] | None = None
        self._ready: asyncio.Future[None] | None = None

    def receive(self, message: bytes) -> None:
        """Process a message of the stream."""
        stream_response = kserve.ModelStreamInferResponse.FromString(message)
        response = stream_response.infer_response
        if stream_response.error_message:
            self.error_message = stream_response.error_message
        elif contents := tuple(response.raw_output_contents):
            try:
                self._take_outputs(dict(zip(kserve.output_names(tuple(response.outputs)), contents, strict=True)))
            except (KeyError, ValueError) as error:
                self.fail(EngineFailed(f"the engine broke its contract: {error}"))

    def _take_outputs(self, raw: Mapping[str, bytes]) -> None:
        num_ids, ids = _int32(raw["sequence_length"]), raw["output_ids"]
        if not 0 <= 4 * num_ids <= len(ids):
            raise ValueError(f"sequence_length {num_ids} for {len(ids) // 4} ids")
        if num_ids:  # Triton sends errors and empty messages even if the computing process is dead
            self.last_ids_at = self._engine.last_ids_at = time.monotonic()
            self.has_begun = True
        self._ids.frombytes(ids[: 4 * num_ids])  # the rest is padding
        if "kv_cache_reused_blocks" in raw:
            self._reused_blocks = _int32(raw["kv_cache_reused_blocks"])
        self._wake()

    def fail(self, failure: BudgetForceError) -> None:
        """End the call with an error, unless it already has one."""
        self.failure = self.failure or failure
        self.close()

    def close(self, _: object = None) -> None:
        """Mark the stream as over and wake the consumer."""
        self._is_over = True
        self._wake()
        _set_result(self._ready)

    async def wait_for(self, ready: asyncio.Future[None] | None) -> None:
        """Wait for ``ready`` or the end of the stream."""
        if ready is not None and not self._is_over:
            self._ready = ready
            await ready

    async def wait_for_ids(self) -> bool:
        """Wait for ids; return False if the stream is over and all are taken."""
        while not self._ids and not self._is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return bool(self._ids)

    def take_ids(self) -> EngineDelta:
        """Return all buffered ids and clear the buffer."""
        delta = EngineDelta(ids=tuple(self._ids), kv_reused_blocks=self._reused_blocks)
        self._ids = array("i")
        return delta

    def _wake(self) -> None:
        _set_result(self._waiter)


def _set_result(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _int32(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little", signed=True)
