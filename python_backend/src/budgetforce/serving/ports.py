# SPDX-License-Identifier: Apache-2.0
"""Sends responses through Triton: a locked response sender, errors with Triton's codes, chunks of replies as tensors.

The lock is needed because sending after the final response is an error, and calling ``is_cancelled()`` during or after it crashes
the whole server (24.10, and by reading 26.07).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from budgetforce.errors import BudgetForceError, Cancelled, EngineUnavailable, InvalidRequest, Overloaded, Stopping
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.replies.sinks import OutputChunk

_MAX_CACHED = 1024  # texts, and as many numbers, in each thread; a tensor takes some 200 bytes of shared memory
_MAX_CACHED_CHARACTERS = 12  # a longer text is rarely sent twice

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
        self.send_tensors([pb_utils.Tensor(name, array) for name, array in outputs.items()], final=final)

    def send_tensors(self, tensors: list[pb_utils.Tensor], *, final: bool = False) -> None:
        """Send a response of tensors that already exist."""
        self._send(pb_utils.InferenceResponse(output_tensors=tensors), final)

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

    def _send(self, response: pb_utils.InferenceResponse | None, final: bool) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = final
            flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0
            if response is None:
                self._sender.send(flags=flags)
                return
            try:
                self._sender.send(response, flags=flags)
            except Exception:
                if final:  # the response cannot be sent, but its final flag perhaps can
                    self._sender.send(flags=flags)
                raise


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
            self.send_tensors(_tensors([chunk]), final=final and chunk is chunks[-1])

    def send_together(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """Send a single response with an element for each chunk: n samples make texts of shape [1, n]."""
        self.send_tensors(_tensors(chunks), final=final)

    def fail(self, error: BudgetForceError, message: str | None = None) -> None:
        """End the request with an error; if the error cannot be sent, end it without."""
        try:
            super().fail(error, message)
        except Exception:  # noqa: BLE001  # whatever it is, a client that waits forever is worse
            self._log.exception("an error could not be sent")
            self.close()


def _tensors(chunks: Sequence[OutputChunk]) -> list[pb_utils.Tensor]:
    tensors = [
        _text("text_output", [chunk.answer for chunk in chunks]),
        _text("thinking_output", [chunk.thinking for chunk in chunks]),
        _numbers("output_ids", [token_id for chunk in chunks for token_id in chunk.ids]),
        _text("event", [chunk.event for chunk in chunks]),
        _numbers("index", [chunk.index for chunk in chunks]),
    ]
    if rounds := [chunk.round for chunk in chunks if chunk.round is not None]:
        tensors.append(_text("round", rounds))
    if results := [chunk.result for chunk in chunks if chunk.result is not None]:
        tensors.append(_text("result", results))
    return tensors


class _FrequentTensors(threading.local):
    """Cache of tensors that many responses contain: event, index, empty texts, and the frequent tokens' ids and texts.

    They are made and put into shared memory once, which is half of a response's cost. Each thread has its own cache: Triton puts a
    tensor into shared memory at its first send, without a lock.
    """

    def __init__(self) -> None:
        self.text = lru_cache(_MAX_CACHED)(_tensor_of_text)
        self.number = lru_cache(_MAX_CACHED)(_tensor_of_number)

    def clear(self) -> None:
        """Release the tensors of the calling thread."""
        self.text.cache_clear()
        self.number.cache_clear()


def _tensor_of_text(name: str, text: str) -> pb_utils.Tensor:
    return pb_utils.Tensor(name, text_tensor(text))


def _tensor_of_number(name: str, number: int) -> pb_utils.Tensor:
    return pb_utils.Tensor(name, int32_tensor(number))


frequent_tensors = _FrequentTensors()


def _text(name: str, texts: Sequence[str]) -> pb_utils.Tensor:
    if len(texts) == 1 and len(texts[0]) <= _MAX_CACHED_CHARACTERS:
        return frequent_tensors.text(name, texts[0])
    return pb_utils.Tensor(name, text_tensor(*texts))


def _numbers(name: str, numbers: Sequence[int]) -> pb_utils.Tensor:
    if len(numbers) == 1:
        return frequent_tensors.number(name, numbers[0])
    return pb_utils.Tensor(name, int32_tensor(*numbers))
