# SPDX-License-Identifier: Apache-2.0
"""Calls an engine model on the same server, through Triton's Business Logic Scripting (BLS).

Only one call runs at a time, from a single thread of the process: decoupled BLS from two threads
deadlocks the whole server (24.10; by reading its source, 26.07, too). All calls block. The event
loop runs between two responses; only then do cancels and deadlines take effect.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from budgetforce.engine.base import EngineCall, Take, parse_engine_error
from budgetforce.engine.call_limits import limits_of
from budgetforce.engine.tensors import OUTPUTS, Array, call_tensors, read_delta, stop_tensors
from budgetforce.errors import EngineUnavailable

KEPT_S = 3.0  # until 24.11 a stub may crash when Triton's thread drops the last reference to a finished stream


class BlsEngine:
    """Implements ``Engine`` with blocking BLS calls to ``model_name``."""

    def __init__(self, model_name: str) -> None:
        self.last_ids_at = 0.0
        self.keeps_min_tokens = limits_of(model_name).keeps_min_tokens
        self._model_name = model_name
        self._finished: deque[tuple[float, Any]] = deque()
        self._one_at_a_time = asyncio.Lock()  # a request's samples would otherwise run concurrently

    async def close(self) -> None:
        self._finished.clear()

    async def is_ready(self) -> bool:
        """Return True: BLS has no readiness request; the next call will show."""
        return True

    def give_up_silent_calls(self, since: float, *, begun_only: bool) -> None:
        """Do nothing: the only thread is blocked by the call itself."""

    async def run(self, call: EngineCall, take: Take) -> None:
        async with self._one_at_a_time:
            await asyncio.sleep(0)  # pending output is sent before this thread blocks for the first token
            responses = self._exec(call.request_id, call_tensors(call))
            is_over = False
            try:
                for response in responses:
                    self._raise_error(response)
                    delta = read_delta(_outputs(response))
                    if delta.ids:
                        self.last_ids_at = time.monotonic()
                        if not take(delta):
                            return
                    await asyncio.sleep(0)
                is_over = True
            finally:
                self._finish(call, responses, is_over=is_over)

    def _exec(self, request_id: str, tensors: dict[str, Array]) -> Any:
        request = pb_utils.InferenceRequest(
            model_name=self._model_name,
            request_id=request_id,
            inputs=[pb_utils.Tensor(name, array) for name, array in tensors.items()],
            requested_output_names=list(OUTPUTS),
        )
        try:
            return request.exec(decoupled=True)
        except pb_utils.TritonModelException as error:
            raise EngineUnavailable(f"engine model '{self._model_name}': {error}") from error

    def _raise_error(self, response: Any) -> None:
        if response.has_error():
            raise parse_engine_error(response.error().message(), self._model_name)

    def _finish(self, call: EngineCall, responses: Any, *, is_over: bool) -> None:
        """Stop the call if it runs, read it to its end (an unread call never frees its memory), and keep it for a while."""
        if not is_over:
            self._stop(call.request_id, responses)
            _drain(responses)
        now = time.monotonic()
        self._finished.append((now, responses))
        while now - self._finished[0][0] > KEPT_S:
            self._finished.popleft()

    def _stop(self, request_id: str, responses: Any) -> None:
        if hasattr(responses, "cancel"):  # Triton 25.04 and later
            responses.cancel()
            return
        stop_responses = self._exec(request_id, stop_tensors())
        _drain(stop_responses)
        self._finished.append((time.monotonic(), stop_responses))


def _drain(responses: Iterator[Any]) -> None:
    for _ in responses:
        pass


def _outputs(response: Any) -> dict[str, Array]:
    tensors = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
    return tensors if "output_ids" in tensors else {"output_ids": np.zeros(0, np.int32), "sequence_length": np.zeros(1, np.int32)}
