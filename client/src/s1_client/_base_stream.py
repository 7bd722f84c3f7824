# SPDX-License-Identifier: Apache-2.0
"""The common part of the two clients' connections and streams: all that awaits nothing."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from typing import Any

import grpc

from s1_client._errors import AccessDenied, Cancelled, ConnectionFailed, DeadlineExceeded, InvalidRequest, S1Error
from s1_client._exchange import Exchange, Running, reason
from s1_client._settings import Settings
from s1_client._tracing import Headers, trace_headers
from s1_client._types import Done, Event, Reply
from s1_client._wire import answer_to_command, command_request, name_of, routing_headers
from s1_client._wire.status import from_status

PATIENCE_S = 2.0  # how long to wait for the server to end a request after the command to cancel it
CANCELS_SAFELY = (2, 57)  # Triton 25.04: before, a stream that is cancelled while it flows may crash the server


logger = logging.getLogger("s1_client")


def credentials_of(settings: Settings) -> Any:
    """Return gRPC's credentials for TLS; None without TLS. Raises OSError and ValueError as ``TLS.read`` does."""
    return None if settings.tls is None else grpc.ssl_channel_credentials(**settings.tls.read())


def open_channel(kind: Any, settings: Settings, credentials: Any) -> Any:
    """Return a channel of ``grpc`` or ``grpc.aio`` (``kind``). It connects with its first call."""
    options = settings.channel_options()
    if credentials is None:
        return kind.insecure_channel(settings.address, options=options)
    return kind.secure_channel(settings.address, credentials, options=options)


def version_of(text: str) -> tuple[int, ...]:
    """Return (2, 51) for Triton's "2.51.0"; for any other text the version whose streams can simply be cancelled."""
    parts = text.split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else CANCELS_SAFELY


class BaseConnection:
    """The state of a connection. It belongs to a client and to all clients that ``with_options`` made of it.

    Attributes:
        running: the requests that run on it.
    """

    def __init__(self, settings: Settings) -> None:
        self.running = Running()
        self._settings = settings
        self._is_closed = False
        self._is_up = False  # as far as responses and failures tell
        self._version: tuple[int, ...] | None = None

    def note_response(self) -> None:
        """Take note that the server has responded."""
        if not self._is_up:
            self._is_up = True
            logger.info("first response from %s%s", self._settings.address, "" if self._settings.tls is None else " with TLS")

    def failure(self, error: Any, *, was_cancelled: bool = False) -> S1Error:
        """Return the error that a ``grpc.RpcError`` stands for. ``was_cancelled``: this client cancelled its call."""
        failure = from_status(error.code().name, error.details(), self._settings, was_cancelled=was_cancelled or self._is_closed)
        if self._is_up and isinstance(failure, ConnectionFailed) and not isinstance(failure, AccessDenied):
            self._is_up = False
            logger.warning("connection to %s lost: %s", self._settings.address, reason(failure))
        return failure

    def _headers(self, wire_id: str, command: str = "", of_request: Headers | None = None) -> Headers:
        """Return the headers of a call. ``of_request``: those of its request; None = only those of the current trace."""
        own = self._settings.metadata
        return (*own, *routing_headers(wire_id, command), *(trace_headers(own) if of_request is None else of_request))

    def trace_headers(self) -> Headers:
        """Return the headers of the current trace, for the calls of a request that is being made."""
        return trace_headers(self._settings.metadata)

    def note_command(self, command: str, request_id: str, level: int) -> None:
        """Log a command to a request."""
        logger.log(level, "request %r: %s", name_of(request_id), command)

    def _note_close(self) -> None:
        self._is_closed = True
        logger.debug("connection to %s closed by this client", self._settings.address)


class SentCommand:
    """A command on its way, on the stream of its request.

    Attributes:
        answered: an event of ``threading`` or ``asyncio``: the server has answered it.
        error: why the server refused it.
    """

    def __init__(self, answered: Any) -> None:
        self.answered = answered
        self.error: S1Error | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the server has answered it."""
        return bool(self.answered.is_set())

    def answer(self, error: S1Error | None = None) -> None:
        """Take the answer; only the first counts."""
        if not self.is_answered:
            self.error = error
            self.answered.set()


class BaseStream:
    """The state of a reply that is being received.

    Attributes:
        request_id: the request's name.
    """

    _connection: Any
    _was_cancelled: Any

    def __init__(self, exchange: Exchange, model: str) -> None:
        self.request_id = exchange.request_id
        self._exchange = exchange
        self._model = model
        self._is_over = True  # until there is a call to end
        self._answer_now_pending = False
        self._received: deque[Event | S1Error] = deque()  # what was received and not returned yet
        self._command: SentCommand | None = None  # the command that waits for its answer
        self._error: S1Error | None = None  # the error that ended the request

    def _start(self) -> None:
        self._trace = self._connection.trace_headers()  # now: an attempt may be made on another thread, in another context
        try:
            self._call = self._new_call()
        except S1Error as error:
            self._exchange.failure(error)
            raise
        self._connection.running.add(self._exchange, self)
        self._is_over = False

    def _new_call(self) -> Any:
        now = time.monotonic()
        self._attempt = (*self._exchange.attempt(now), (*self._exchange.headers, *self._trace))
        call = self._connection.open_stream(*self._attempt)
        self._exchange.note_sent(now)
        return call

    def _end(self) -> None:
        self._is_over = True
        self._connection.running.remove(self._exchange)

    def _failed(self, error: S1Error) -> S1Error:
        """End the request with an error, and return the error with the client's knowledge of the request added."""
        self._end()
        self._error = self._exchange.failure(error)
        return self._error

    def _whole_replies(self) -> tuple[Reply, ...]:
        """Return the replies of a request that is over. Raises the error that ended it, or Cancelled if its stream was left early."""
        if self._error is not None:
            raise self._error
        if not self._exchange.is_complete:
            raise self._failed(Cancelled("the stream was left before its end"))
        return self._exchange.replies()

    def _take(self, message: Any) -> None:
        """Take a message of the call. After the last one of the request the server waits for the end of our own messages."""
        self._connection.note_response()
        if self._command is not None and not self._command.is_answered and (answer := answer_to_command(message)):
            self._command.answer(answer if isinstance(answer, S1Error) else None)
            return
        try:
            events = self._exchange.take(message)
        except S1Error as error:
            self._received.append(error)
            self._call.end_messages()
            return
        self._received.extend(events)
        if events and isinstance(events[-1], Done) and self._exchange.is_complete:
            self._call.end_messages()
            self._connection.running.remove(self._exchange)  # the server has forgotten it, though its events may wait for their reader

    def _next_received(self) -> Event | None:
        """Return the next event that was received, None if the reply is complete. Raises the error that was received."""
        if self._received:
            received = self._received.popleft()
            if isinstance(received, S1Error):
                raise received
            return received
        if not self._is_over:  # else another thread or task has closed it
            self._exchange.check_complete()
        return None

    def _new_command(self, command: str, log_level: int, answered: Any) -> tuple[SentCommand, Any]:
        """Return a command to wait for, and its message. Raises InvalidRequest if the request is over."""
        self._connection.note_command(command, self._exchange.wire_id, log_level)
        if self._is_over and not self._was_cancelled.is_set():
            raise self._not_running()
        self._command = SentCommand(answered)
        return self._command, command_request(command, self._exchange.wire_id, model=self._model)

    def _not_running(self) -> InvalidRequest:
        return InvalidRequest("request id", f'"{self.request_id}"', "the id of a running request")

    @staticmethod
    def _check_answer(command: SentCommand) -> None:
        if not command.is_answered:
            raise DeadlineExceeded(f"the server has not answered a command within {PATIENCE_S:g} s")
        if command.error is not None:
            raise command.error

    def _failure(self, error: Any) -> S1Error:
        """Return the error that a ``grpc.RpcError`` of the call stands for."""
        failure: S1Error = self._connection.failure(error, was_cancelled=self._was_cancelled.is_set())
        return failure

    def _delay_before_retry(self, error: S1Error) -> float:
        """Return the seconds to wait before the next attempt. Raises the error if there is to be none."""
        delay_s = self._exchange.retry_delay_s(error, time.monotonic(), random.random())  # noqa: S311  # no secret
        if delay_s is None:
            raise self._failed(error)
        return delay_s

    def _retry_now(self, error: S1Error) -> None:
        """Make the next attempt, or raise if the request was cancelled meanwhile, the time is over or the client is closed."""
        if self._is_over:  # the stream was closed meanwhile: its reader gets no error, as when it is closed in the middle of a read
            return
        try:
            if self._was_cancelled.is_set():
                raise Cancelled("the request was cancelled between two attempts")  # handled with the others below
            self._call = self._new_call()
        except S1Error as failure:
            raise self._failed(failure) from error
        if self._was_cancelled.is_set():  # by another thread, meanwhile: it has cancelled the call of the attempt before
            self._call.cancel()

    def _may_answer_later(self, error: S1Error, *, had_begun: bool) -> bool:
        """Whether ``answer_now`` failed because the reply has not begun: then it counts once a reply begins."""
        return not (self._is_over or had_begun or isinstance(error, DeadlineExceeded))
