# SPDX-License-Identifier: Apache-2.0
"""A connection, and the replies that come over it as streams, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import random
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


class AsyncConnection:
    """The channel, made when it is needed: it belongs to the event loop that runs then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel: Any = None
        self._stub: Any = None
        self._infer: Any = None
        self._version: tuple[int, ...] | None = None
        self.running = Running()
        self._is_closed = False
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Requests that still run are cancelled; those that were left are seen to their end first."""
        if self._leaving:
            await asyncio.wait(self._leaving)
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()

    def failure(self, error: Any, *, was_cancelled: bool = False) -> S1Error:
        """The error that a ``grpc.RpcError`` stands for; ``was_cancelled``: its call, by this client."""
        return from_status(error.code().name, error.details(), self._settings, was_cancelled=was_cancelled or self._is_closed)

    def _open(self) -> Any:
        if self._is_closed:
            raise ConnectionFailed("this client has been closed")
        if self._stub is None:
            settings, options = self._settings, self._settings.channel_options()
            if settings.tls is None:
                self._channel = grpc.aio.insecure_channel(settings.address, options=options)
            else:
                credentials = grpc.ssl_channel_credentials(**settings.tls.read())
                self._channel = grpc.aio.secure_channel(settings.address, credentials, options=options)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
            self._infer = _wire.streaming_method(self._channel)
        return self._stub

    def stream(self, message: Any, timeout_s: float) -> Any:
        """Begin a call."""
        self._open()
        return self._infer(message, timeout=timeout_s, metadata=self._settings.metadata)

    async def ask(self, method: str, request: Any, timeout_s: float = PATIENCE_S) -> Any:
        """A call with one answer, by its name in KServe's protocol. Raises S1Error."""
        try:
            return await getattr(self._open(), method)(request, timeout=timeout_s, metadata=self._settings.metadata)
        except grpc.RpcError as error:
            raise self.failure(error) from error

    async def command(self, command: str, request_id: str, model: str) -> None:
        """Tell a running request something. Raises S1Error, InvalidRequest if none of that id runs."""
        try:
            async for message in self.stream(_wire.command_request(command, request_id, model=model), PATIENCE_S):
                _wire.raise_error(message)
        except grpc.RpcError as error:
            raise self.failure(error) from error

    async def cancels_safely(self) -> bool:
        """Whether a stream that flows may be cancelled without harm to the server."""
        if self._version is None:
            try:
                told = await self.ask("ServerMetadata", service_pb2.ServerMetadataRequest())
            except S1Error:
                return True  # it is gone, or this client is closed
            self._version = version_of(told.version)
        return self._version >= CANCELS_SAFELY

    def in_background(self, leaving: Any) -> asyncio.Task[None]:
        """See to the end of a stream that nobody reads any more."""
        task = asyncio.create_task(leaving)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task


class AsyncStream:
    """A reply as it comes: an asynchronous iterator over its events, and a context manager that frees the engine when
    it is left early. Leaving without it, or being cancelled while it is read, does so as well.

    Attributes:
        request_id: the request's name.
    """

    def __init__(self, connection: AsyncConnection, exchange: Exchange, model: str) -> None:
        self.request_id = exchange.request_id
        self._connection = connection
        self._exchange = exchange
        self._model = model
        self._is_over = True  # until there is a call to end
        self._is_hurried = False
        self._was_cancelled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._reading: asyncio.Future[Any] | None = None
        self._call: Any = connection.stream(*exchange.attempt(time.monotonic()))
        connection.running.add(exchange)
        self._is_over = False

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Event:
        """Raises S1Error; nothing follows then."""
        try:
            while not self._is_over:
                try:
                    event = await self._next_event()
                except S1Error as error:
                    await self._retry(error)
                    continue
                if event is not None:
                    await self._tell_what_waits()
                    return event
                self._end()
        except asyncio.CancelledError:
            self._abandon()
            raise
        raise StopAsyncIteration

    def _end(self) -> None:
        self._is_over = True
        self._connection.running.remove(self._exchange)

    async def _next_event(self) -> Event | None:
        while (message := await self._read()) is not grpc.aio.EOF:
            event = self._exchange.take(message)
            if event is not None:
                return event
        if not self._is_over:  # else somebody closed it meanwhile
            self._exchange.check_complete()
        return None

    async def _read(self) -> Any:
        """The next message. Not awaited directly: grpc cancels a call whose reader is cancelled, see ``_leave``."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        reading = self._reading
        try:
            message = await asyncio.shield(reading)
        except grpc.RpcError as error:
            raise self._connection.failure(error, was_cancelled=self._was_cancelled.is_set()) from error
        except asyncio.CancelledError:
            if not reading.cancelled():  # it is us
                raise
            raise Cancelled("the request was cancelled") from None
        self._reading = None
        return message

    async def _read_to_end(self) -> None:
        with contextlib.suppress(S1Error):
            while await self._read() is not grpc.aio.EOF:
                pass
        self._reading = None

    async def _retry(self, error: S1Error) -> None:
        """Begin anew, or raise."""
        await self._read_to_end()
        if self._is_over:  # it was closed, and this is what that looks like
            return
        delay_s = self._exchange.retry_delay_s(error, time.monotonic(), random.random())  # noqa: S311  # no secret
        if delay_s is None:
            self._end()
            raise self._exchange.failure(error)
        if await self._is_cancelled_within(delay_s):
            self._end()
            raise self._exchange.failure(Cancelled("the request was cancelled between two attempts")) from error
        try:
            self._call = self._connection.stream(*self._exchange.attempt(time.monotonic()))
        except S1Error as over:  # there is no time left, or this client has been closed
            self._end()
            raise self._exchange.failure(over) from error

    async def _is_cancelled_within(self, delay_s: float) -> bool:
        try:
            return await asyncio.wait_for(self._was_cancelled.wait(), delay_s)
        except TimeoutError:
            return False

    async def _tell_what_waits(self) -> None:
        if self._is_hurried:
            self._is_hurried = False
            with contextlib.suppress(InvalidRequest):  # it has ended meanwhile
                await self.answer_now()

    async def answer_now(self) -> None:
        """See ``Stream.answer_now``."""
        try:
            await self._connection.command("answer_now", self._exchange.wire_id, self._model)
        except InvalidRequest:
            if self._is_over or not self._exchange.joiner.is_empty:
                raise
            self._is_hurried = True

    async def cancel(self) -> None:
        """End the request; whoever reads gets ``Cancelled``. Without effect on one that has ended."""
        if self._is_over:
            return
        self._was_cancelled.set()
        try:
            await self._connection.command("cancel", self._exchange.wire_id, self._model)
        except S1Error:
            self._call.cancel()  # it has not begun, and is silent

    async def close(self) -> None:
        """Leave: what has not come is not wanted any more, and the engine is free for others."""
        if (leaving := self._abandon()) is not None:
            await asyncio.shield(leaving)

    def _abandon(self) -> asyncio.Task[None] | None:
        if self._is_over:
            return None
        self._end()
        self._was_cancelled.set()
        return self._connection.in_background(self._leave())

    async def _leave(self) -> None:
        """See ``Stream``: before 25.04 the request is told to end, and the stream read to its end."""
        try:
            if not await self._connection.cancels_safely():
                async with asyncio.timeout(PATIENCE_S):
                    await self._connection.command("cancel", self._exchange.wire_id, self._model)
                    await self._read_to_end()
        except (S1Error, TimeoutError):
            pass  # it has ended by itself, or has not begun, or cannot be told
        finally:
            self._call.cancel()

    async def replies(self) -> tuple[Reply, ...]:
        """Read the rest; the whole replies, one a sample."""
        async for _ in self:
            pass
        return self._exchange.joiner.replies()

    async def reply(self) -> Reply:
        """Read the rest; the whole reply. Of several samples: the first."""
        return (await self.replies())[0]

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # its loop may be gone
            if not self._is_over:
                self._loop.call_soon_threadsafe(self._abandon)
