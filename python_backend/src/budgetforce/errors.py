# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, and whose fault it is.

    BudgetForceError
    ├── InvalidRequest      the caller's: one field, its value, what is allowed
    ├── Cancelled           the caller's wish: the request was cancelled
    ├── ConfigError         the operator's: a model parameter or a preset is wrong
    ├── DeadlineExceeded    nobody's: the time that the caller gave is over
    ├── Overloaded          nobody's: too many requests at once; later it may go
    ├── Stopping            the server is being stopped: another one may take the request, or this one later
    ├── EngineUnavailable   the engine model is not loaded, not reachable or silent: try later
    └── EngineFailed        the engine broke its promise or answered with an error

``code`` is stable and stands first in every message that leaves the server, so that
a client can tell the kinds apart where the transport carries a text alone (a gRPC
stream does: its errors have no status of their own). A second line holds the rest as
JSON (``report``); InvalidRequest has said everything in the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class BudgetForceError(Exception):
    """The base of all errors that this package raises on purpose."""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False  # the same request may succeed later

    def __str__(self) -> str:
        return f"{self.code}: {super().__str__()}"

    def report(self, request_id: str, so_far: Sequence[Mapping[str, Any]]) -> str:
        """The message for the caller. ``so_far``: how far each sample got, JSON-able."""
        return f"{self}\n{json.dumps({'retryable': self.retryable, 'request_id': request_id, 'so_far': so_far})}"


class InvalidRequest(BudgetForceError):
    """A request field has a value that is not allowed.

    Attributes:
        field: the tensor's name.
        value: what was sent, shortened for the message.
        allowed: what would have been accepted, as a phrase.
    """

    code = "INVALID_ARGUMENT"
    _pattern: ClassVar = re.compile(r"INVALID_ARGUMENT: field '(.+?)': got (.*), allowed: (.*)", re.S)

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"field '{field}': got {shorten(value)}, allowed: {allowed}")

    @classmethod
    def parse(cls, message: str) -> InvalidRequest | None:
        """Read back the message of one, as another model of ours wrote it; None if it is not."""
        match = cls._pattern.search(message)
        if match is None:
            return None
        field, value, allowed = match.groups()
        return cls(field, Verbatim(value), allowed)

    def report(self, request_id: str, so_far: Sequence[Mapping[str, Any]]) -> str:  # noqa: ARG002  # nothing was begun
        """One line: the same request will never do."""
        return str(self)


class Cancelled(BudgetForceError):
    """The client went away or asked to stop."""

    code = "CANCELLED"


class ConfigError(BudgetForceError):
    """A model parameter, preset or model file is unusable; the model does not load."""

    code = "CONFIG"


class DeadlineExceeded(BudgetForceError):
    """``timeout_ms`` is over."""

    code = "DEADLINE"


class Overloaded(BudgetForceError):
    """Too many requests run and wait.

    Attributes:
        retry_after_s: when it may be worth another try.
    """

    code = "OVERLOADED"
    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{message}; retry after {retry_after_s} s")


class Stopping(BudgetForceError):
    """The server is being stopped: it takes no new requests, and ends those that outlast its drain."""

    code = "STOPPING"
    retryable = True


class EngineUnavailable(BudgetForceError):
    """The engine model cannot take requests now."""

    code = "ENGINE_UNAVAILABLE"
    retryable = True

    @classmethod
    def parse(cls, message: str) -> EngineUnavailable | None:
        """Read back the message of one, as an engine model of ours wrote it; None if it is not."""
        before, found, reason = message.partition(f"{cls.code}: ")
        return cls(reason) if found and not before.strip() else None


class EngineFailed(BudgetForceError):
    """The engine answered with an error, or not as its contract says."""

    code = "ENGINE_FAILED"


def unexpected_error(request_id: str) -> BudgetForceError:
    """Return the error for the caller after a bug of ours, whose traceback is in the log."""
    return BudgetForceError(f"unexpected error; the server's log has it under request id {request_id}")


class Verbatim(str):
    """A text that is already written as it should appear."""

    __slots__ = ()


def shorten(value: object, limit: int = 80) -> str:
    """``value`` as JSON would write it, at most ``limit`` characters long."""
    text = str(value) if isinstance(value, Verbatim) else _first_of_json(value, limit)
    text = text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate could not be sent
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _first_of_json(value: object, limit: int) -> str:
    """The value's JSON, at least as far as ``limit`` characters and one: of a long one the rest is not made."""
    if isinstance(value, str):
        value = value[: limit + 1]
    text = ""
    for part in json.JSONEncoder(default=str, ensure_ascii=False).iterencode(value):
        text += part
        if len(text) > limit:
            break
    return text
