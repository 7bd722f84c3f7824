# SPDX-License-Identifier: Apache-2.0
"""A connection, and the replies that come over it as streams, for threads."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from types import TracebackType
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s1_client import _wire
from s1_client._errors import Cancelled, ConnectionFailed, InvalidRequest, S1Error
from s1_client._exchange import CANCELS_SAFELY, PATIENCE_S, Exchange, Running, version_of
from s1_client._settings import Settings
from s1_client._types import Event, Reply
from s1_client._wire.status import from_status


class Connection:
    """The channel, and what is known of the server behind it. Belongs to a client and all that were made of it."""

    def __init__(self, settings: Settings) -> None:
        options = settings.channel_options()
        if settings.tls is None:
            self._channel = grpc.insecure_channel(settings.address, options=options)
        else:
            self._channel = grpc.secure_channel(settings.address, grpc.ssl_channel_credentials(**settings.tls.read()), options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._infer = _wire.streaming_method(self._channel)
        self._settings = settings
        self._is_closed = False
        self._version: tuple[int, ...] | None = None
        self.running = Running()

    def close(self) -> None:
        """Requests that still run are cancelled."""
        self._is_closed = True
        self._channel.close()

    def failure(self, error: Any, *, was_cancelled: bool = False) -> S1Error:
        """The error that a ``grpc.RpcError`` stands for; ``was_cancelled``: its call, by this client."""
        return from_status(error.code().name, error.details(), self._settings, was_cancelled=was_cancelled or self._is_closed)

    def stream(self, message: Any, timeout_s: float) -> Any:
        """Begin a call; an iterator over its messages."""
        try:
            return self._infer(message, timeout=timeout_s, metadata=self._settings.metadata)
        except ValueError as error:
            raise ConnectionFailed("this client has been closed") from error

    def ask(self, method: str, request: Any, timeout_s: float = PATIENCE_S) -> Any:
        """A call with one answer, by its name in KServe's protocol. Raises S1Error."""
        try:
            return getattr(self._stub, method)(request, timeout=timeout_s, metadata=self._settings.metadata)
        except grpc.RpcError as error:
            raise self.failure(error) from error
        except ValueError as error:
            raise ConnectionFailed("this client has been closed") from error

    def command(self, command: str, request_id: str, model: str) -> None:
        """Tell a running request something. Raises S1Error, InvalidRequest if none of that id runs."""
        try:
            for message in self.stream(_wire.command_request(command, request_id, model=model), PATIENCE_S):
                _wire.raise_error(message)
        except grpc.RpcError as error:
            raise self.failure(error) from error

    def cancels_safely(self) -> bool:
        """Whether a stream that flows may be cancelled without harm to the server."""
        if self._version is None:
            try:
                self._version = version_of(self.ask("ServerMetadata", service_pb2.ServerMetadataRequest()).version)
            except S1Error:
                return True  # it is gone, or this client is closed
        return self._version >= CANCELS_SAFELY


class Stream:
    """A reply as it comes: an iterator over its events, and a context manager that frees the engine when it is left early.

    The last event of each sample is a ``Done``. One thread reads; any thread may call the other methods.

    Attributes:
        request_id: the request's name.
    """

    def __init__(self, connection: Connection, exchange: Exchange, model: str) -> None:
        self.request_id = exchange.request_id
        self._connection = connection
        self._exchange = exchange
        self._model = model
        self._is_over = True  # until there is a call to end
        self._is_hurried = False
        self._was_cancelled = threading.Event()
        self._reading = threading.RLock()  # a call does not bear two readers, and another thread may close
        self._call: Any = connection.stream(*exchange.attempt(time.monotonic()))
        connection.running.add(exchange)
        self._is_over = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Event:
        """Raises S1Error; nothing follows then."""
        while not self._is_over:
            try:
                event = self._next_event()
            except S1Error as error:
                self._retry(error)
                continue
            if event is not None:
                self._tell_what_waits()
                return event
            self._end()
        raise StopIteration

    def _end(self) -> None:
        self._is_over = True
        self._connection.running.remove(self._exchange)

    def _next_event(self) -> Event | None:
        try:
            with self._reading:
                for message in self._call:
                    event = self._exchange.take(message)
                    if event is not None:
                        return event
        except grpc.RpcError as error:
            raise self._connection.failure(error, was_cancelled=self._was_cancelled.is_set()) from error
        if not self._is_over:  # else somebody closed it meanwhile
            self._exchange.check_complete()
        return None

    def _retry(self, error: S1Error) -> None:
        """Begin anew, or raise."""
        self._read_to_end()
        if self._is_over:  # it was closed, and this is what that looks like
            return
        delay_s = self._exchange.retry_delay_s(error, time.monotonic(), random.random())  # noqa: S311  # no secret
        if delay_s is None:
            self._end()
            raise self._exchange.failure(error)
        if self._was_cancelled.wait(delay_s):
            self._end()
            raise self._exchange.failure(Cancelled("the request was cancelled between two attempts")) from error
        try:
            self._call = self._connection.stream(*self._exchange.attempt(time.monotonic()))
        except S1Error as over:  # there is no time left, or this client has been closed
            self._end()
            raise self._exchange.failure(over) from error

    def _tell_what_waits(self) -> None:
        if self._is_hurried:
            self._is_hurried = False
            with contextlib.suppress(InvalidRequest):  # it has ended meanwhile
                self.answer_now()

    def answer_now(self) -> None:
        """Close the thinking at once, and go on to the answer. Of a request that has not begun: as soon as it does.

        Raises InvalidRequest if the request has ended, or its preset leaves the answer to the model.
        """
        try:
            self._connection.command("answer_now", self._exchange.wire_id, self._model)
        except InvalidRequest:
            if self._is_over or not self._exchange.joiner.is_empty:
                raise
            self._is_hurried = True

    def cancel(self) -> None:
        """End the request; whoever reads gets ``Cancelled``. Without effect on one that has ended."""
        if self._is_over:
            return
        self._was_cancelled.set()
        try:
            self._connection.command("cancel", self._exchange.wire_id, self._model)
        except S1Error:
            self._call.cancel()  # it has not begun, and is silent

    def close(self) -> None:
        """Leave: what has not come is not wanted any more, and the engine is free for others."""
        if not self._is_over:
            self._end()
            self._was_cancelled.set()
            self._leave()

    def _leave(self) -> None:
        """Before 25.04 Triton may crash when a stream is cancelled while a response is on its way: there the request
        is told to end, and the stream read to its end.
        """
        if self._connection.cancels_safely():
            self._call.cancel()
            return
        patience = threading.Timer(PATIENCE_S, self._call.cancel)
        patience.start()
        try:
            self._connection.command("cancel", self._exchange.wire_id, self._model)
            self._read_to_end()
        except S1Error:
            pass  # it has ended by itself, or has not begun, or cannot be told
        finally:
            patience.cancel()
            self._call.cancel()

    def _read_to_end(self) -> None:
        """An error is the last message, but a stream that is cancelled in the moment it ends
        can leave a reference to the model behind in Triton 24.10, which then stops late.
        """
        with self._reading, contextlib.suppress(grpc.RpcError):
            for _ in self._call:
                pass

    def replies(self) -> tuple[Reply, ...]:
        """Read the rest; the whole replies, one a sample."""
        for _ in self:
            pass
        return self._exchange.joiner.replies()

    def reply(self) -> Reply:
        """Read the rest; the whole reply. Of several samples: the first."""
        return self.replies()[0]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be on its way out
            self.close()
