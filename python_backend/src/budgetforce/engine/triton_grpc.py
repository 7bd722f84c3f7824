# SPDX-License-Identifier: Apache-2.0
"""An engine model on a Triton server, over gRPC: by default on the very server we run in.

One ModelStreamInfer call per engine call, raw protobuf messages on one shared channel.
Loopback gRPC instead of BLS because decoupled BLS used by more than one request at a time
deadlocks the server, and because cancelling a gRPC call really stops the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from budgetforce.engine.base import EngineCall, EngineDelta
from budgetforce.engine.tensors import OUTPUTS, Array, call_tensors, read_delta
from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable, InvalidRequest

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcEngine:
    """Calls ``model_name`` at ``address`` ("host:port"). Belongs to one event loop.

    The connection is made by the first call: while our own model loads, the server does not
    listen yet.
    """

    def __init__(self, address: str, model_name: str) -> None:
        self.model_name = model_name
        self._address = address
        self._channel = grpc.aio.insecure_channel(address, options=_UNLIMITED)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        """See ``Engine.stream``."""
        responses = self._stub.ModelStreamInfer(_once(self._infer_request(call)))
        try:
            async for response in responses:
                if response.error_message:
                    await _read_to_end(responses)
                    raise await self._explain(response.error_message)
                if response.infer_response.raw_output_contents:
                    yield read_delta(_outputs(response.infer_response))
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"engine '{self.model_name}' at {self._address}: {error.details()}") from error
        finally:
            responses.cancel()  # without effect on a call that is over

    async def _explain(self, message: str) -> BudgetForceError:
        refused = InvalidRequest.parse(message)
        if refused is not None:
            return refused
        if not await self._is_ready():
            return EngineUnavailable(
                f"engine model '{self.model_name}' is not loaded at {self._address}; load it, or choose another engine"
            )
        return EngineFailed(f"engine '{self.model_name}': {message.splitlines()[0]}")

    async def _is_ready(self) -> bool:
        try:
            return bool((await self._stub.ModelReady(service_pb2.ModelReadyRequest(name=self.model_name))).ready)
        except grpc.aio.AioRpcError:
            return False

    def _infer_request(self, call: EngineCall) -> Any:
        request = service_pb2.ModelInferRequest(model_name=self.model_name, id=call.request_id)
        for name, array in call_tensors(call).items():
            request.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
            request.raw_input_contents.append(array.tobytes())
        for name in OUTPUTS:
            request.outputs.add(name=name)
        return request


async def _once(request: Any) -> AsyncIterator[Any]:
    yield request


async def _read_to_end(responses: Any) -> None:
    """An error is the last message, but a stream that is cancelled in the moment it ends
    can leave a reference to the model behind in Triton 24.10, which then stops late.
    """
    async for _ in responses:
        pass


def _outputs(response: Any) -> dict[str, Array]:
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {out.name: np.frombuffer(raw, triton_to_np_dtype(out.datatype)).reshape(out.shape) for out, raw in pairs}
