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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from budgetforce.engine import kserve
from budgetforce.engine.base import EngineCall, EngineDelta, Take, parse_engine_error
from budgetforce.engine.call_limits import limits_of
from budgetforce.engine.endpoint import Endpoint
from budgetforce.engine.grpc_calls import CallFailed, GrpcCall, GrpcCalls
from budgetforce.engine.tensors import OUTPUTS, Array, call_tensors, stop_tensors
from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable

_SERVICE = "inference.GRPCInferenceService"
_SWEEP_S = 1.0  # interval of the search for silent calls
_ANSWER_TIMEOUT_S = 2.0  # for requests that the server answers without a model
_STOP_PATIENCE_S = 5.0  # for a stopped call to end, on a busy machine too; half of Triton's own patience when it exits
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
        self._running: set[_Responses] = set()
        self._arrived: list[_Responses] = []
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
        for responses in self._running:
            if responses.is_silent(since) and (responses.has_begun or not begun_only):
                responses.end(EngineUnavailable(f"engine '{self.model_name}' went silent and answers no other call either"))

    async def run(self, call: EngineCall, take: Take) -> None:
        """Run a call; ids that arrive in one pass of the loop, or while the call waits for its turn, are delivered together."""
        responses = _Responses(self, call.ready, take)
        request = self._stream_request(call.request_id, call_tensors(call))
        headers = (f"traceparent: {call.traceparent}",) if call.traceparent else ()
        running = self._calls.start(f"{_SERVICE}/ModelStreamInfer", request, responses.receive, headers)
        running.ended.add_done_callback(responses.close)
        self._running.add(responses)
        try:
            await responses.over
            if running.ended.done() and not responses.is_refused:
                await self._raise_failure(responses, running)
        finally:
            self._running.discard(responses)
            responses.leave()
            if not running.ended.done():
                self._leave(call.request_id, running)

    def deliver_soon(self, responses: _Responses) -> None:
        """Deliver what has arrived at the end of this pass of the loop: libcurl must not be called while it hands over data."""
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._arrived.append(responses)

    def _deliver(self) -> None:
        arrived, self._arrived = self._arrived, []
        for responses in arrived:
            responses.deliver()

    def _leave(self, request_id: str, running: GrpcCall) -> None:
        task = asyncio.create_task(self._end(request_id, running))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, request_id: str, running: GrpcCall) -> None:
        """End an abandoned call. Before 25.04 Triton's gRPC front end may crash when a stream is cancelled while a
        response is under way (once in some thousand times), or keep a reference to the model, which then cannot be unloaded: there
        the model receives a stop request, and the stream is read to its end. A stream that still stays silent can be cancelled safely.
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

    async def _raise_failure(self, responses: _Responses, call: GrpcCall) -> None:
        if responses.error_message:
            raise await self._explain(responses.error_message)
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
            request.inputs.add(name=name, datatype=kserve.DATATYPES[tensor.dtype], shape=tensor.shape)
            request.raw_input_contents.append(tensor.tobytes())
        for name in OUTPUTS:
            request.outputs.add(name=name)
        return bytes(request.SerializeToString())

    def _sweep(self) -> None:
        """Fail the calls that have been silent for too long, now and every ``_SWEEP_S``."""
        since = time.monotonic() - self._max_silence_s
        for responses in self._running:
            if responses.is_silent(since):
                responses.end(EngineUnavailable(f"engine '{self.model_name}' has sent no ids for {self._max_silence_s} s"))
        self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)


class _Responses:
    """Response messages of a call. They are read when their ids are delivered: together, which costs little more than a single one.

    Attributes:
        over: done when the call is over, with an error if it has failed.
        has_begun: whether ids have arrived.
        is_refused: ``take`` wants no more ids; an error that follows them is no failure of the call.
        error_message: the engine's error, its last message. The stream's end is awaited nevertheless: in Triton 24.10
            a stream cancelled at that moment can leave a reference to the model, which then stops late.
    """

    def __init__(self, engine: GrpcEngine, ready: Callable[[], asyncio.Future[None] | None] | None, take: Take) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_begun = False
        self.is_refused = False
        self.error_message = ""
        self._engine = engine
        self._ready = ready
        self._take = take
        self._unread: list[bytes] = []
        self._ids = array("i")
        self._reused_blocks: int | None = None
        self._has_delivered = False
        self._turn: asyncio.Future[None] | None = None  # while the call waits for it
        self._last_ids_at = time.monotonic()  # before the first ids, when the call began

    def receive(self, message: bytes) -> None:
        """Take a message of the stream."""
        if not self._unread and self._turn is None:
            self._engine.deliver_soon(self)
        self._unread.append(message)

    def deliver(self, *, has_turn: bool = False) -> None:
        """Deliver the ids that have arrived, or wait until it is the call's turn."""
        try:
            self._read()
            if self._ids and not self.over.done() and (has_turn or self._takes_turn()):
                self._deliver_ids()
        except Exception as error:  # noqa: BLE001  # it belongs to the call
            self.end(error)

    def close(self, _: object) -> None:
        """Deliver what is left at the stream's end, which ends the call."""
        self.deliver(has_turn=True)
        self.end()

    def end(self, error: Exception | None = None) -> None:
        """End the call, unless it is over."""
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)
            self.over.exception()  # marks it as retrieved: the call may be cancelled at the same moment

    def leave(self) -> None:
        """Wait for no turn any more."""
        self._ready = None
        if self._turn is not None:
            self._turn.cancel()

    def is_silent(self, since: float) -> bool:
        """Return whether no ids have arrived since then. What waits for a turn has arrived a moment ago."""
        return self._last_ids_at < since and self._turn is None

    def _takes_turn(self) -> bool:
        """Return whether ids may be delivered now; if not, they are when it is the call's turn. A round's first ids wait for nothing."""
        if not self._has_delivered or self._ready is None:
            return True
        self._turn = self._ready()
        if self._turn is not None:
            self._turn.add_done_callback(self._turn_came)
        return self._turn is None

    def _turn_came(self, _: object) -> None:
        self._turn = None
        self.deliver(has_turn=True)

    def _deliver_ids(self) -> None:
        delta = EngineDelta(ids=tuple(self._ids), kv_reused_blocks=self._reused_blocks)
        self._ids = array("i")
        self._has_delivered = True
        if not self._take(delta):
            self.is_refused = True
            self.end()

    def _read(self) -> None:
        """Read the messages. Raises EngineFailed if the engine broke its contract."""
        if not self._unread:
            return
        # Messages behind each other are one message with the elements of all: a rule of protobuf's encoding.
        stream_response = kserve.ModelStreamInferResponse.FromString(b"".join(self._unread))
        self._unread.clear()
        response = stream_response.infer_response
        self.error_message = self.error_message or stream_response.error_message
        if contents := tuple(response.raw_output_contents):
            try:
                self._read_outputs(kserve.output_names(tuple(response.outputs)), contents)
            except (KeyError, ValueError) as error:
                raise EngineFailed(f"the engine broke its contract: {error}") from error

    def _read_outputs(self, names: Sequence[str], contents: Sequence[bytes]) -> None:
        outputs: dict[str, list[bytes]] = {"sequence_length": [], "output_ids": [], "kv_cache_reused_blocks": []}
        for name, content in zip(names, contents, strict=True):
            outputs[name].append(content)
        num_waiting = len(self._ids)
        for length, ids in zip(outputs["sequence_length"], outputs["output_ids"], strict=True):
            self._ids.frombytes(_real_ids(_int32(length), ids))
        if len(self._ids) > num_waiting:  # Triton sends errors and empty messages even if the computing process is dead
            self._last_ids_at = self._engine.last_ids_at = time.monotonic()
            self.has_begun = True
        if reused_blocks := outputs["kv_cache_reused_blocks"]:
            self._reused_blocks = _int32(reused_blocks[-1])


def _real_ids(num_ids: int, ids: bytes) -> bytes:
    """Return the ids without the padding behind them."""
    if not 0 <= 4 * num_ids <= len(ids):
        raise ValueError(f"sequence_length {num_ids} for {len(ids) // 4} ids")
    return ids[: 4 * num_ids]


def _int32(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little", signed=True)
