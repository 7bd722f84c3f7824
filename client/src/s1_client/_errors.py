# SPDX-License-Identifier: Apache-2.0
"""What can go wrong.

    S1Error
    ├── ConnectionFailed    no server answers at the address, or the connection broke
    ├── InvalidRequest      the server refuses a field: ``field``, ``value``, ``allowed``
    ├── ServerUnavailable   the server cannot take requests now; later it may
    │   └── Overloaded      too many run and wait: ``retry_after_s``
    ├── Cancelled           the request was cancelled
    └── ServerFailed        anything else that the server could not do

Errors of gRPC and of tritonclient never come through.
"""

from __future__ import annotations

import re


class S1Error(Exception):
    """The base of all errors of this package."""


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


class Cancelled(S1Error):
    """The request was cancelled."""


class ServerFailed(S1Error):
    """The server could not finish the request; the message is its own."""


_INVALID = re.compile(r"INVALID_ARGUMENT: field '(.+?)': got (.*), allowed: (.*)", re.S)

_OVERLOADED = re.compile(r"OVERLOADED: (.*; retry after ([\d.]+) s)", re.S)


def from_message(message: str) -> S1Error:
    """The error that a server's error message stands for."""
    invalid = _INVALID.search(message)
    if invalid is not None:
        return InvalidRequest(*invalid.groups())
    overloaded = _OVERLOADED.search(message)
    if overloaded is not None:
        return Overloaded(overloaded.group(1), float(overloaded.group(2)))
    for code, kind in (("UNAVAILABLE: ", ServerUnavailable), ("CANCELLED: ", Cancelled)):
        if message.startswith(code):
            return kind(message.removeprefix(code))
    if "unknown model" in message or "is not ready" in message:  # Triton's own words
        return ServerUnavailable(message)
    return ServerFailed(message)
