# SPDX-License-Identifier: Apache-2.0
"""The errors of the server package, by who can act on them.

    BudgetForceError        code INTERNAL: a bug in this package
    ├── InvalidRequest      the caller: a field has a value that is not allowed
    ├── Cancelled           the caller cancelled the request
    ├── ConfigError         the operator: a model parameter, preset or model file is wrong
    ├── DeadlineExceeded    the request's ``timeout_ms`` has passed
    ├── Overloaded          too many concurrent requests; a retry may succeed
    ├── Stopping            the server is shutting down; retry later or on another server
    ├── EngineUnavailable   the engine model is not loaded, not reachable or silent; retry later
    └── EngineFailed        the engine broke its contract or answered with an error

Every message that leaves the server begins with the stable ``code``: a gRPC stream transports
errors as text without a status of their own, so clients distinguish them by the code. A second
line holds details as JSON (``report``); InvalidRequest needs only the first line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class BudgetForceError(Exception):
    """Base of all errors that this package raises on purpose."""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False  # whether the same request may succeed later

    def __str__(self) -> str:
        return f"{self.code}: {super().__str__()}"

    def report(self, request_id: str, so_far: Sequence[Mapping[str, Any]]) -> str:
        """Return the message for the caller. ``so_far``: the progress of each sample, as JSON values."""
        return f"{self}\n{json.dumps({'retryable': self.retryable, 'request_id': request_id, 'so_far': so_far})}"


class InvalidRequest(BudgetForceError):
    """A request field has a value that is not allowed.

    Attributes:
        field: the tensor's name.
        value: the value sent; the message shortens it.
        allowed: the accepted values, as a phrase.
    """

    code = "INVALID_ARGUMENT"
    _pattern: ClassVar = re.compile(r"INVALID_ARGUMENT: field '(.+?)': got (.*), allowed: (.*)", re.S)

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"field '{field}': got {shorten(value)}, allowed: {allowed}")

    @classmethod
    def parse(cls, message: str) -> InvalidRequest | None:
        """Return the InvalidRequest that another model of ours wrote into a message, None if it holds none."""
        match = cls._pattern.search(message)
        if match is None:
            return None
        field, value, allowed = match.groups()
        return cls(field, Verbatim(value), allowed)

    def report(self, request_id: str, so_far: Sequence[Mapping[str, Any]]) -> str:  # noqa: ARG002  # no sample has started
        """Return a single line: no retry of the same request can succeed."""
        return str(self)


class Cancelled(BudgetForceError):
    """The client disconnected or cancelled the request."""

    code = "CANCELLED"


class ConfigError(BudgetForceError):
    """A model parameter, preset or model file is unusable, so the model does not load."""

    code = "CONFIG"


class DeadlineExceeded(BudgetForceError):
    """The request's ``timeout_ms`` has passed."""

    code = "DEADLINE"


class Overloaded(BudgetForceError):
    """Too many requests are running and queued.

    Attributes:
        retry_after_s: seconds after which a retry may succeed.
    """

    code = "OVERLOADED"
    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{message}; retry after {retry_after_s} s")


class Stopping(BudgetForceError):
    """The server is shutting down: it rejects new requests and ends those that outlast its drain."""

    code = "STOPPING"
    retryable = True


class EngineUnavailable(BudgetForceError):
    """The engine model cannot serve requests at present."""

    code = "ENGINE_UNAVAILABLE"
    retryable = True

    @classmethod
    def parse(cls, message: str) -> EngineUnavailable | None:
        """Return the EngineUnavailable that an engine model of ours wrote into a message, None if it holds none."""
        before, found, reason = message.partition(f"{cls.code}: ")
        return cls(reason) if found and not before.strip() else None


class EngineFailed(BudgetForceError):
    """The engine answered with an error or broke its contract."""

    code = "ENGINE_FAILED"

    @classmethod
    def of(cls, error: Exception) -> EngineFailed:
        """Return the error of an engine library as its first line, or as its class if it has no text."""
        return cls(str(error).partition("\n")[0] or type(error).__name__)


def unexpected_error(request_id: str) -> BudgetForceError:
    """Return the error for the caller after a bug of ours; its traceback is in the server's log."""
    return BudgetForceError(f"unexpected error; the server's log has it under request id {request_id}")


class Verbatim(str):
    """Text that ``shorten`` must not write as JSON again."""

    __slots__ = ()


def shorten(value: object, limit: int = 80) -> str:
    """Return ``value`` as JSON, cut to at most ``limit`` characters."""
    text = str(value) if isinstance(value, Verbatim) else _first_of_json(value, limit)
    text = text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate could not be sent
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _first_of_json(value: object, limit: int) -> str:
    """Return the beginning of the value's JSON, at least ``limit`` + 1 characters of it; the rest is never computed."""
    if isinstance(value, str):
        value = value[: limit + 1]
    text = ""
    for part in json.JSONEncoder(default=str, ensure_ascii=False).iterencode(value):
        text += part
        if len(text) > limit:
            break
    return text
