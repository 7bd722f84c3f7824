# SPDX-License-Identifier: Apache-2.0
"""What can go wrong.

    S1Error
    ├── ConnectionFailed    no server answers at the address, or the connection broke
    ├── InvalidRequest      the server refuses a field: ``field``, ``value``, ``allowed``
    ├── ServerUnavailable   the server or its engine cannot take requests now; later it may
    │   └── Overloaded      too many run and wait: ``retry_after_s``
    ├── DeadlineExceeded    ``timeout_ms`` was over
    ├── Cancelled           the request was cancelled
    └── ServerFailed        anything else that the server could not do
        └── EngineFailed    the engine answered with an error, or not as it should

Errors of gRPC and of tritonclient never come through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any


class S1Error(Exception):
    """The base of all errors of this package.

    Attributes:
        retryable: the same request may succeed later, as far as the server knows.
        request_id: the failed request's, if the server named it.
        so_far: how far each sample had got: its ``index``, ``num_rounds`` and ``usage``.
    """

    retryable: bool = False
    request_id: str | None = None
    so_far: Sequence[Mapping[str, Any]] = ()


class ConnectionFailed(S1Error):
    """No connection to the server, or it broke."""


class InvalidRequest(S1Error):
    """The server refuses the value of a field.

    Attributes:
        field: its name.
        value: what was sent, as the server quotes it.
        allowed: what it would take.
    """

    def __init__(self, field: str, value: str, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}: got {value}, allowed: {allowed}")


class ServerUnavailable(S1Error):
    """The server or its engine cannot take requests now."""


class Overloaded(ServerUnavailable):
    """Too many requests run and wait.

    Attributes:
        retry_after_s: when the server thinks another try may be worth it.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class DeadlineExceeded(S1Error):
    """``timeout_ms`` was over."""


class Cancelled(S1Error):
    """The request was cancelled."""


class ServerFailed(S1Error):
    """The server could not finish the request; the message is its own."""


class EngineFailed(ServerFailed):
    """The engine answered with an error, or not as its contract says."""


_INVALID = re.compile(r"INVALID_ARGUMENT: field '(.+?)': got (.*), allowed: (.*)", re.S)
_OVERLOADED = re.compile(r".*; retry after ([\d.]+) s", re.S)
_KINDS: dict[str, type[S1Error]] = {
    "ENGINE_UNAVAILABLE": ServerUnavailable,
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
    try:
        told = json.loads(details) if said else {}
    except ValueError:
        told = {}
    error = _of_kind(said if told else message)
    error.retryable, error.request_id, error.so_far = told.get("retryable", False), told.get("request_id"), told.get("so_far", ())
    return error


def _of_kind(said: str) -> S1Error:
    code, _, text = said.partition(": ")
    overloaded = _OVERLOADED.fullmatch(text) if code == "OVERLOADED" else None
    if overloaded is not None:
        return Overloaded(text, float(overloaded.group(1)))
    if code in _KINDS:
        return _KINDS[code](text)
    if "unknown model" in said or "is not ready" in said:  # Triton's own words
        return ServerUnavailable(said)
    return ServerFailed(said)
