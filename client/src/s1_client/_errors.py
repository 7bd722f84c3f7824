# SPDX-License-Identifier: Apache-2.0
"""What can go wrong.

    S1Error
    ├── ConnectionFailed    no server answers at the address, or the connection broke
    │   └── AccessDenied    the server wants a secret or a token, and got none or another
    ├── ServerNotReady      the server or its engine cannot take requests now; later it may
    ├── Overloaded          too many run and wait: ``retry_after_s``
    ├── InvalidRequest      a field's value is refused: ``field``, ``value``, ``allowed``
    ├── DeadlineExceeded    the client's ``deadline_s`` or the request's ``timeout_ms`` was over
    ├── Cancelled           the request was cancelled
    └── ServerFailed        anything else that the server could not do
        └── EngineFailed    the engine answered with an error, or not as it should

Each carries the request's id and what had come until then. Errors of gRPC and of tritonclient
never come through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from s1_client._types import Partial


class S1Error(Exception):
    """The base of all errors of this package.

    Attributes:
        retryable: the same request may succeed later, as far as is known.
        request_id: the failed request's; None if it had none.
        partial: what the client had received, a ``Partial`` for each sample that had begun.
        so_far: how far the server had got with each sample: its ``index``, ``num_rounds`` and ``usage``.
    """

    retryable: bool = False
    request_id: str | None = None
    partial: Sequence[Partial] = ()
    so_far: Sequence[Mapping[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON can hold it."""
        return {"error": type(self).__name__, "message": str(self), "retryable": self.retryable, "request_id": self.request_id}


class ConnectionFailed(S1Error):
    """No connection to the server, or it broke."""


class AccessDenied(ConnectionFailed):
    """The server wants a secret or a token, and got none or another."""


class ServerNotReady(S1Error):
    """The server or its engine cannot take requests now."""

    retryable = True


class Overloaded(S1Error):
    """Too many requests run and wait.

    Attributes:
        retry_after_s: when the server thinks another try may be worth it; None if it did not say.
    """

    retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class InvalidRequest(S1Error):
    """The value of a field is refused.

    Attributes:
        field: its name.
        value: what was sent, as the server quotes it.
        allowed: what it would take.
    """

    def __init__(self, field: str, value: str, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}: got {value}, allowed: {allowed}")

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON can hold it."""
        return {**S1Error.to_dict(self), "field": self.field, "value": self.value, "allowed": self.allowed}


class DeadlineExceeded(S1Error):
    """There was no more time."""


class Cancelled(S1Error):
    """The request was cancelled: by its reader, by its id, or because its client was closed."""


class ServerFailed(S1Error):
    """The server could not finish the request; the message is its own."""


class EngineFailed(ServerFailed):
    """The engine answered with an error, or not as its contract says."""


_INVALID = re.compile(r"INVALID_ARGUMENT: field '(.+?)': got (.*), allowed: (.*)", re.S)
_RETRY_AFTER = re.compile(r".*; retry after (\d+(?:\.\d+)?) s", re.S)
_NOT_SERVING = ("unknown model", "is not ready", "is stopping", "is not healthy")  # Triton's own words; the last: its process is dead
_OF_CODE: dict[str, type[S1Error]] = {
    "OVERLOADED": Overloaded,
    "ENGINE_UNAVAILABLE": ServerNotReady,
    "STOPPING": ServerNotReady,
    "ENGINE_FAILED": EngineFailed,
    "DEADLINE": DeadlineExceeded,
    "CANCELLED": Cancelled,
}


def from_message(message: str) -> S1Error:
    """The error that a server's error message stands for: "CODE: text", then perhaps a line of JSON."""
    invalid = _INVALID.search(message)
    if invalid is not None:
        return InvalidRequest(*invalid.groups())
    said, _, details = message.rpartition("\n")
    told = _object(details) if said else {}
    error = _of_code(said if told else message)
    error.retryable = told.get("retryable", error.retryable)
    error.request_id, error.so_far = told.get("request_id"), told.get("so_far", ())
    return error


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object that the text is; {} for any other text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _of_code(said: str) -> S1Error:
    code, _, text = said.partition(": ")
    if code in _OF_CODE:
        return told_when(_OF_CODE[code](text))
    if any(words in said for words in _NOT_SERVING):
        return ServerNotReady(f"the server is stopping, or does not serve the model: {said}")
    return ServerFailed(said)


def told_when(error: S1Error) -> S1Error:
    """The error, with ``retry_after_s`` out of its text if it is Overloaded and says it."""
    told = _RETRY_AFTER.fullmatch(str(error))
    if isinstance(error, Overloaded) and told is not None:
        error.retry_after_s = float(told.group(1))
    return error
