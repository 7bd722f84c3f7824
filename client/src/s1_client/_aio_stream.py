# SPDX-License-Identifier: Apache-2.0
"""A connection and the replies that are streamed over it, for asyncio. Twin of ``_stream``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s1_client._base_stream import CANCELS_SAFELY, PATIENCE_S, BaseConnection, BaseStream, SentCommand, open_channel, version_of
from s1_client._errors import Cancelled, ConnectionFailed, InvalidRequest, S1Error
from s1_client._exchange import Exchange
from s1_client._settings import Settings
from s1_client._types import Event, Reply
from s1_client._wire import command_request, raise_error, streaming_method


class AsyncOpenCall:
    """A call whose own messages have not ended, as ``OpenCall``; or with ``is_open`` False a call of a single message."""

    def __init__(self, method: Any, message: Any, *, is_open: bool = True, **settings: Any) -> None:
        self.is_open = is_open
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._messages.put_nowait(message)
        self._call = method(self._iterate() if is_open else message, **settings)
        self._call.add_done_callback(lambda _: self.end_messages())

    async def _iterate(self) -> AsyncIterator[Any]:
        while (message := await self._messages.get()) is not None:
            yield message

    async def read(self) -> Any:
        """Return the next message from the server, ``grpc.aio.EOF`` behind the last one."""
        return await self._call.read()

    def send(self, message: Any) -> None:
        """Send another message on this call."""
        self._messages.put_nowait(message)

    def end_messages(self) -> None:
        """Tell the server that no more messages follow."""
        self._messages.put_nowait(None)

    def cancel(self) -> None:
        """Cancel the call, whatever it does."""
        self._call.cancel()


class AsyncConnection(BaseConnection):
    """A gRPC channel to a server, made by the first call: it belongs to the event loop that runs then."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._channel: Any = None
        self._stub: Any = None
        self._infer: Any = None
        self._infer_open: Any = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for the streams that are being left, then close the channel, which cancels the requests that still run."""
        if self._leaving:
            await asyncio.wait(self._leaving)
        self._note_close()
        if self._channel is not None:
            await self._channel.close()

    def _open(self) -> Any:
        if self._is_closed:
            raise ConnectionFailed("this client has been closed")
        if self._stub is None:
            self._channel = open_channel(grpc.aio, self._settings)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
            self._infer = streaming_method(self._channel)
            self._infer_open = streaming_method(self._channel, is_open=True)
        return self._stub

    def stream(self, message: Any, timeout_s: float, command: str = "") -> Any:
        """Begin a call, and return it."""
        self._open()
        return self._infer(message, timeout=timeout_s, metadata=self._headers(message.id, command))

    def open_stream(self, message: Any, timeout_s: float, *, is_open: bool = True) -> AsyncOpenCall:
        """Begin a call, to which with ``is_open`` messages can be added."""
        self._open()
        method = self._infer_open if is_open else self._infer
        return AsyncOpenCall(method, message, is_open=is_open, timeout=timeout_s, metadata=self._headers(message.id))

    async def ask(self, method: str, request: Any, timeout_s: float = PATIENCE_S) -> Any:
        """Return the response to a unary method of KServe's protocol, named as there. Raises S1Error."""
        try:
            response = await getattr(self._open(), method)(request, timeout=timeout_s, metadata=self._settings.metadata)
        except grpc.RpcError as error:
            raise self.failure(error) from error
        self.note_response()
        return response

    async def command(self, command: str, request_id: str, model: str, log_level: int = logging.INFO) -> None:
        """Send a command to a running request. Raises S1Error, InvalidRequest if none of that id runs."""
        self.note_command(command, request_id, log_level)
        try:
            async for message in self.stream(command_request(command, request_id, model=model), PATIENCE_S, command):
                self.note_response()
                raise_error(message)
        except grpc.RpcError as error:
            raise self.failure(error) from error

    async def cancels_safely(self) -> bool:
        """Return whether a flowing stream may be cancelled without harm to the server."""
        if self._version is None:
            try:
                metadata = await self.ask("ServerMetadata", service_pb2.ServerMetadataRequest())
            except S1Error:
                return True  # the server is gone, or this client is closed
            self._version = version_of(metadata.version)
        return self._version >= CANCELS_SAFELY

    def in_background(self, leaving: Any) -> asyncio.Task[None]:
        """Run the coroutine that ends an abandoned stream as a task, which ``close`` waits for."""
        task = asyncio.create_task(leaving)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task


class AsyncStream(BaseStream):
    """A reply while it is received: an asynchronous iterator over its events, and a context manager that frees the engine
    when it is left early. Leaving the iteration without it, or being cancelled while reading, frees it as well.

        async with client.stream("How many r in raspberry?") as stream:
            async for event in stream:
                print(event.text, end="", flush=True)
        print((await stream.reply()).usage)

    Attributes:
        request_id: the request's name.
    """

    _connection: AsyncConnection

    def __init__(self, connection: AsyncConnection, exchange: Exchange, model: str) -> None:
        super().__init__(exchange, model)
        self._connection = connection
        self._was_cancelled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._reading: asyncio.Future[Any] | None = None
        self._taking, self._commanding = asyncio.Lock(), asyncio.Lock()
        self._start()

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Event:
        """Return the next event. Raises S1Error, after which the stream is over."""
        try:
            while not self._is_over:
                try:
                    event = await self._next_event()
                except S1Error as error:
                    await self._retry(error)
                    continue
                if event is not None:
                    await self._send_pending_command()
                    return event
                self._end()
        except asyncio.CancelledError:
            self._abandon()
            raise
        raise StopAsyncIteration

    async def _next_event(self) -> Event | None:
        async with self._taking:
            while not self._received and (message := await self._read()) is not grpc.aio.EOF:
                self._take(message)
        return self._next_received()

    async def _read(self) -> Any:
        """Return the next message. It is not awaited directly: grpc cancels a call whose reader is cancelled, see ``_leave``."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        reading = self._reading
        try:
            message = await asyncio.shield(reading)
        except grpc.RpcError as error:
            if not self._has_lost_reason(error):
                raise self._failure(error) from error
            self._reading, self._call = None, self._connection.open_stream(*self._attempt, is_open=False)
            return await self._read()
        except asyncio.CancelledError:
            if not reading.cancelled():  # this task is cancelled, not the call
                raise
            raise Cancelled("the request was cancelled") from None
        self._reading = None
        return message

    def _has_lost_reason(self, error: Any) -> bool:
        """Whether the server ended the call before our message was sent: of an open call grpcio's asyncio then reports only that, in
        about one of a hundred such calls. Nothing has been sent, and a call of a single message learns the reason.
        """
        is_first = self._exchange.joiner.is_empty and self._call.is_open
        return is_first and error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"

    async def _read_to_end(self) -> None:
        with contextlib.suppress(S1Error):
            async with self._taking:
                while await self._read() is not grpc.aio.EOF:
                    pass
        self._reading = None

    async def _send_command(self, command: str, log_level: int = logging.INFO) -> None:
        """Send a command on the request's own stream. Raises S1Error, InvalidRequest if the server refuses it."""
        async with self._commanding:
            sent, message = self._new_command(command, log_level, asyncio.Event())
            self._call.send(message)
            reader = asyncio.create_task(self._read_answer(sent))  # another task may be reading, or none
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(sent.answered.wait(), PATIENCE_S)
            finally:
                reader.cancel()
            self._check_answer(sent)

    async def _read_answer(self, command: SentCommand) -> None:
        """Read until the command is answered or the call has ended."""
        with contextlib.suppress(S1Error):
            async with self._taking:
                while not command.is_answered and (message := await self._read()) is not grpc.aio.EOF:
                    self._take(message)
        command.answer(self._not_running())

    async def _retry(self, error: S1Error) -> None:
        """Make another attempt after an error, or raise."""
        await self._read_to_end()
        if not self._is_over:  # else it was closed, which looks like an error here
            delay_s = self._delay_before_retry(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._was_cancelled.wait(), delay_s)
            self._retry_now(error)

    async def _send_pending_command(self) -> None:
        if self._answer_now_pending:
            self._answer_now_pending = False
            with contextlib.suppress(InvalidRequest):  # the request has ended meanwhile
                await self.answer_now()

    async def answer_now(self) -> None:
        """End the thinking at once, and go on to the answer. Of a request that has not begun: as soon as it begins.

        Raises InvalidRequest if the request has ended, or if its preset leaves the answer to the model.
        """
        try:
            await self._send_command("answer_now")
        except InvalidRequest:
            if self._is_over or not self._exchange.joiner.is_empty:
                raise
            self._answer_now_pending = True

    async def cancel(self) -> None:
        """End the request; its reader gets ``Cancelled``. Without effect on a request that has ended."""
        if self._is_over:
            return
        self._was_cancelled.set()
        try:
            await self._send_command("cancel")
        except S1Error:
            self._call.cancel()  # it has not begun, and is silent

    async def close(self) -> None:
        """Abandon the rest of the reply, and free the engine. Without effect on a stream that has ended."""
        if (leaving := self._abandon()) is not None:
            await asyncio.shield(leaving)

    def _abandon(self) -> asyncio.Task[None] | None:
        if self._is_over:
            return None
        self._end()
        self._exchange.note_leaving()
        self._was_cancelled.set()
        return self._connection.in_background(self._leave())

    async def _leave(self) -> None:
        """End the call. Before 25.04 the request is cancelled by a command, and the stream is read to its end, as in ``Stream``."""
        try:
            if not await self._connection.cancels_safely():
                async with asyncio.timeout(PATIENCE_S):
                    await self._send_command("cancel", logging.DEBUG)
                    self._call.end_messages()
                    await self._read_to_end()
        except (S1Error, TimeoutError):
            pass  # it has ended by itself, has not begun, or cannot be reached
        finally:
            self._call.cancel()

    async def replies(self) -> tuple[Reply, ...]:
        """Read the rest, and return a whole reply for each sample."""
        async for _ in self:
            pass
        return self._exchange.replies()

    async def reply(self) -> Reply:
        """Read the rest, and return the whole reply; of several samples the first."""
        return (await self.replies())[0]

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # its loop may be gone
            if not self._is_over:
                self._loop.call_soon_threadsafe(self._abandon)
