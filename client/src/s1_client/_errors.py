# SPDX-License-Identifier: Apache-2.0
"""The errors that this package raises, and the table of their codes.

    S1Error
    ├── ConnectionFailed    no server answers at the address, or the connection broke
    │   └── AccessDenied    the server refused our secret, token or certificate, or wants one
    ├── ServerNotReady      the server or its engine cannot take requests now; a retry may succeed
    ├── Overloaded          the server's queue is full: ``retry_after_s``
    ├── InvalidRequest      a field's value is refused: ``field``, ``value``, ``allowed``
    ├── DeadlineExceeded    the client's ``deadline_s`` or the request's ``timeout_ms`` is over
    ├── Cancelled           the request was cancelled
    └── ServerFailed        any other failure of the server
        └── EngineFailed    the engine answered with an error, or broke its contract

Each holds the request's id, the number of attempts and the part of the reply that was received. Errors of gRPC and of
tritonclient are never raised; they are the ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from s1_client._types import Partial


class S1Error(Exception):
    """The base of all errors of this package.

        try:
            reply = client.think("How many r in raspberry?")
        except S1Error as error:
            print(type(error).__name__, error, error.request_id, error.num_attempts)

    Attributes:
        retryable: whether the same request may succeed later, as far as is known.
        request_id: the failed request's id; None if it had none.
        num_attempts: attempts that were made, retries included; 0 = the request was never sent.
        partial: the texts received so far, a ``Partial`` for each sample that had begun.
        so_far: the server's progress with each sample: its ``index``, ``num_rounds`` and ``usage``.
    """

    retryable: bool = False
    request_id: str | None = None
    num_attempts: int = 0
    partial: Sequence[Partial] = ()
    so_far: Sequence[Mapping[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the error's name, message and attributes as JSON can hold them."""
        names = ("retryable", "request_id", "num_attempts")
        return {"error": type(self).__name__, "message": str(self), **{name: getattr(self, name) for name in names}}


class ConnectionFailed(S1Error):
    """No server answers at the address, or the connection broke."""


class AccessDenied(ConnectionFailed):
    """The server refused our secret, token or certificate, or wants one."""


class ServerNotReady(S1Error):
    """The server or its engine cannot take requests now."""

    retryable = True


class Overloaded(S1Error):
    """The server runs and queues as many requests as it may.

    Attributes:
        retry_after_s: seconds after which the server suggests a retry; None if it suggests none.
    """

    retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class InvalidRequest(S1Error):
    """The value of a request field is refused, by the client or by the server.

    Attributes:
        field: the field's name.
        value: the refused value, as the server quotes it.
        allowed: the values that are allowed, as a phrase.
    """

    def __init__(self, field: str, value: str, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(field, value, allowed)  # pickle and copy make the error anew from these

    def __str__(self) -> str:
        return f"{self.field}: got {self.value}, allowed: {self.allowed}"

    def to_dict(self) -> dict[str, Any]:
        """Return the error's name, message and attributes as JSON can hold them."""
        return {**S1Error.to_dict(self), "field": self.field, "value": self.value, "allowed": self.allowed}


class DeadlineExceeded(S1Error):
    """The client's ``deadline_s`` or the request's ``timeout_ms`` is over."""


class Cancelled(S1Error):
    """The request was cancelled: by its reader, by its id, or because its client was closed."""


class ServerFailed(S1Error):
    """The server could not finish the request; the message is the server's."""


class EngineFailed(ServerFailed):
    """The engine answered with an error, or broke its contract."""


class ErrorKind(NamedTuple):
    """A row of the table of errors.

    Attributes:
        error: the class, whose ``retryable`` is its default.
        codes: codes in the server's messages that stand for it; the first is the FakeServer's.
        exit_code: of the command ``s1`` that ends with it.
    """

    error: type[S1Error]
    codes: tuple[str, ...]
    exit_code: int


ERROR_KINDS = (
    ErrorKind(ConnectionFailed, (), 3),
    ErrorKind(AccessDenied, (), 3),
    ErrorKind(ServerNotReady, ("ENGINE_UNAVAILABLE", "STOPPING"), 4),
    ErrorKind(Overloaded, ("OVERLOADED",), 5),
    ErrorKind(DeadlineExceeded, ("DEADLINE",), 6),
    ErrorKind(Cancelled, ("CANCELLED",), 130),
    ErrorKind(ServerFailed, ("INTERNAL",), 1),
    ErrorKind(EngineFailed, ("ENGINE_FAILED",), 7),
    ErrorKind(InvalidRequest, ("INVALID_ARGUMENT",), 2),
)
