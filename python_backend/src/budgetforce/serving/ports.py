# SPDX-License-Identifier: Apache-2.0
"""Sends responses through Triton: a locked response sender, errors with Triton's codes, chunks of replies as tensors.

The lock is needed because sending after the final response is an error, and calling ``is_cancelled()`` during or after it crashes
the whole server (24.10, and by reading 26.07).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from budgetforce.errors import BudgetForceError, Cancelled, EngineUnavailable, InvalidRequest, Overloaded, Stopping
from budgetforce.serving.frequent_tensors import MAX_CACHED_CHARACTERS, frequent_tensors
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.replies.sinks import OutputChunk

MAX_FINAL_CHARACTERS = 1 << 16  # of a response with the final flag; the results of samples without long stop words have a few thousand

_NUMBERS = frozenset({"output_ids", "index"})  # outputs of INT32; the others are of BYTES

# By name: the stub gives pb_utils its classes only after our modules are imported.
_TRITON_CODES: dict[type[BudgetForceError], str] = {
    InvalidRequest: "INVALID_ARG",
    EngineUnavailable: "UNAVAILABLE",
    Overloaded: "UNAVAILABLE",
    Stopping: "UNAVAILABLE",
    Cancelled: "CANCELLED",
}


def request_id_of(request: pb_utils.InferenceRequest) -> str:
    """Return the request's id. Raises InvalidRequest for an id that is not UTF-8."""
    try:
        return request.request_id()
    except UnicodeDecodeError as error:
        raise InvalidRequest("request id", error.object[:20].hex(" "), "UTF-8 text") from None


class ResponsePort:
    """Sends the responses of a request. Safe to use from several threads."""

    def __init__(self, sender: pb_utils.ResponseSender) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._closed = False

    def send(self, outputs: Mapping[str, npt.NDArray[Any]], *, final: bool = False) -> None:
        """Send a response; does nothing after the final response."""
        self.send_tensors([_tensor(name, array) for name, array in outputs.items()], final=final)

    def send_tensors(self, tensors: list[pb_utils.Tensor], *, final: bool = False, is_large: bool = False) -> None:
        """Send a response of tensors that already exist.

        A large final response is followed by the final flag instead of carrying it: Triton closes a sender before it looks for shared
        memory, so that a final response that does not fit could not even be replaced by an error.

        Raises BudgetForceError if Triton cannot send it.
        """
        self._send(pb_utils.InferenceResponse(output_tensors=tensors), final, is_large=is_large)

    def fail(self, error: BudgetForceError, message: str | None = None) -> None:
        """End the request with an error; ``message`` replaces the error's own text."""
        code = getattr(pb_utils.TritonError, _TRITON_CODES.get(type(error), "INTERNAL"))
        self._send(pb_utils.InferenceResponse(error=pb_utils.TritonError(message or str(error), code)), final=True)

    def close(self) -> None:
        """End the request without a further response."""
        self._send(None, final=True)

    def is_cancelled(self) -> bool:
        """Return whether the client has gone; False after the final response. Call it rarely: it is a round trip."""
        with self._lock:
            return not self._closed and self._sender.is_cancelled()

    def _send(self, response: pb_utils.InferenceResponse | None, final: bool, *, is_large: bool = False) -> None:
        with self._lock:
            if self._closed:
                return
            if final and is_large:
                self._hand_over(response, 0)
                response = None
            self._closed = final
            self._hand_over(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0)

    def _hand_over(self, response: pb_utils.InferenceResponse | None, flags: int) -> None:
        if response is None:
            self._sender.send(flags=flags)
            return
        try:
            self._sender.send(response, flags=flags)
        except Exception as error:
            if flags:  # the response cannot be sent, but its final flag perhaps can
                with suppress(Exception):
                    self._sender.send(flags=flags)
            raise BudgetForceError(f"a response could not be sent: {error}") from error


def text_tensor(*texts: str) -> npt.NDArray[Any]:
    """Return strings as a BYTES tensor [1, n]."""
    return np.array([[text.encode() for text in texts]], np.object_)


def int32_tensor(*numbers: int) -> npt.NDArray[Any]:
    """Return numbers as an INT32 tensor [1, n]."""
    return np.array([numbers], np.int32)


class ReplyPort(ResponsePort):
    """Sends the chunks of replies: the ``ResponseWriter`` of a request."""

    def __init__(self, sender: pb_utils.ResponseSender, log: ServerLog) -> None:
        super().__init__(sender)
        self._log = log

    def send_each(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """Send a response for each chunk."""
        for chunk in chunks:
            self._send_outputs(_outputs(chunk), final=final and chunk is chunks[-1])

    def send_together(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """Send a single response with an element for each chunk: n samples make texts of shape [1, n]."""
        self._send_outputs(_joined_outputs(chunks), final=final)

    def _send_outputs(self, outputs: Mapping[str, Sequence[Any]], *, final: bool) -> None:
        is_large = final and _num_characters(outputs) > MAX_FINAL_CHARACTERS
        self.send_tensors(_tensors(outputs), final=final, is_large=is_large)

    def fail(self, error: BudgetForceError, message: str | None = None) -> None:
        """End the request with an error; if the error cannot be sent, end it without."""
        try:
            super().fail(error, message)
        except Exception:  # noqa: BLE001  # whatever it is, a client that waits forever is worse
            self._log.exception("an error could not be sent")
            self.close()


def _outputs(chunk: OutputChunk) -> dict[str, tuple[Any, ...]]:
    """Return the values of each output, by its name."""
    outputs: dict[str, tuple[Any, ...]] = {
        "text_output": (chunk.answer,),
        "thinking_output": (chunk.thinking,),
        "output_ids": chunk.ids,
        "event": (chunk.event,),
        "index": (chunk.index,),
    }
    if chunk.round is not None:
        outputs["round"] = (chunk.round,)
    if chunk.result is not None:
        outputs["result"] = (chunk.result,)
    return outputs


def _joined_outputs(chunks: Sequence[OutputChunk]) -> dict[str, list[Any]]:
    joined: defaultdict[str, list[Any]] = defaultdict(list)
    for chunk in chunks:
        for name, values in _outputs(chunk).items():
            joined[name] += values
    return joined


def _num_characters(outputs: Mapping[str, Sequence[Any]]) -> int:
    return sum([len(text) for name, texts in outputs.items() if name not in _NUMBERS for text in texts])


def _tensors(outputs: Mapping[str, Sequence[Any]]) -> list[pb_utils.Tensor]:
    return [_numbers(name, values) if name in _NUMBERS else _texts(name, values) for name, values in outputs.items()]


def _texts(name: str, texts: Sequence[str]) -> pb_utils.Tensor:
    if len(texts) == 1 and len(texts[0]) <= MAX_CACHED_CHARACTERS:
        return frequent_tensors.text(name, texts[0])
    return pb_utils.Tensor(name, text_tensor(*texts))


def _numbers(name: str, numbers: Sequence[int]) -> pb_utils.Tensor:
    return frequent_tensors.number(name, numbers[0]) if len(numbers) == 1 else pb_utils.Tensor(name, int32_tensor(*numbers))


def _tensor(name: str, array: npt.NDArray[Any]) -> pb_utils.Tensor:
    if array.size == 1 and array.dtype == np.int32:
        return frequent_tensors.number(name, array.item(), array.ndim)
    return pb_utils.Tensor(name, array)
