# SPDX-License-Identifier: Apache-2.0
"""Triton's response sender behind a lock, and errors as Triton knows them.

Two facts make this module: sending after the final response is an error, and asking
``is_cancelled()`` during or after it crashes the whole server (24.10, and by reading 26.07).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from budgetforce.errors import BudgetForceError, Cancelled, EngineUnavailable, InvalidRequest, Overloaded

# By name: the stub gives pb_utils its classes only after our modules are imported.
_TRITON_CODES = {InvalidRequest: "INVALID_ARG", EngineUnavailable: "UNAVAILABLE", Overloaded: "UNAVAILABLE", Cancelled: "CANCELLED"}


def cancel_check_period_s(num_requests: int) -> float:
    """How long to wait between two questions whether a client has gone.

    A question is a round trip between two processes, 0.2 ms of CPU: with many requests each is
    asked a little less often, but within a quarter of a second in any case.
    """
    return min(max(0.1, 0.0125 * num_requests), 0.25)


class ResponsePort:
    """Where the responses of one request go. Safe to use from several threads."""

    def __init__(self, sender: pb_utils.ResponseSender) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._closed = False

    def send(self, outputs: Mapping[str, npt.NDArray[Any]], *, final: bool = False) -> None:
        """Send one response; nothing happens after the final one."""
        tensors = [pb_utils.Tensor(name, array) for name, array in outputs.items()]
        self._send(pb_utils.InferenceResponse(output_tensors=tensors), final)

    def fail(self, error: BudgetForceError) -> None:
        """End the request with an error."""
        code = getattr(pb_utils.TritonError, _TRITON_CODES.get(type(error), "INTERNAL"))
        self._send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code)), final=True)

    def close(self) -> None:
        """End the request without a further response."""
        self._send(None, final=True)

    def is_cancelled(self) -> bool:
        """Whether the client has gone; False once the final response is out. A round trip: ask rarely."""
        with self._lock:
            return not self._closed and self._sender.is_cancelled()

    def _send(self, response: pb_utils.InferenceResponse | None, final: bool) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = final
            flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0
            if response is None:
                self._sender.send(flags=flags)
            else:
                self._sender.send(response, flags=flags)


def text_tensor(*texts: str) -> npt.NDArray[Any]:
    """Strings as Triton wants them: BYTES [1, n]."""
    return np.array([[text.encode() for text in texts]], np.object_)


def int32_tensor(*numbers: int) -> npt.NDArray[Any]:
    """Numbers as INT32 [1, n]."""
    return np.array([numbers], np.int32)
