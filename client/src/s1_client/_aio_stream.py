# SPDX-License-Identifier: Apache-2.0
"""The reply of a request while it is streamed, for asyncio. Twin of ``_stream``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Any

import grpc

from s1_client._aio_connection import AsyncConnection
from s1_client._base_stream import PATIENCE_S, BaseStream, SentCommand
from s1_client._errors import Cancelled, InvalidRequest, S1Error
from s1_client._exchange import Exchange
from s1_client._types import Event, Reply


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
            if self._was_cancelled.is_set():
                raise Cancelled("the request was cancelled") from error
            return await self._read_again()
        except asyncio.CancelledError:
            if not reading.cancelled():  # this task is cancelled, not the call
                raise
            raise Cancelled("the request was cancelled") from None
        self._reading = None
        return message

    async def _read_again(self) -> Any:
        """Make the call once more, without room for commands, and return its first message."""
        self._reading, self._call = None, self._connection.open_stream(*self._attempt, is_open=False)
        if self._command is not None:
            self._command.answer(self._not_running())  # it was sent on the call that has ended
        return await self._read()

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
        if not self._call.is_open:  # see _has_lost_reason: it has room for no other message than its request
            await self._connection.command(command, self._exchange.wire_id, self._model, log_level)
            return
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
        error: S1Error = self._not_running()
        try:
            async with self._taking:
                while not command.is_answered and (message := await self._read()) is not grpc.aio.EOF:
                    self._take(message)
        except S1Error as broken:
            error = broken
        command.answer(error)

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
        had_begun = not self._exchange.joiner.is_empty
        try:
            await self._send_command("answer_now")
        except S1Error as error:
            if not self._may_answer_later(error, had_begun=had_begun):
                raise
            if self._exchange.joiner.is_empty:
                self._answer_now_pending = True
            else:  # it began after the server had refused the command, and before we read that
                await self._send_command("answer_now")

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
        """Read the rest, and return a whole reply for each sample.

        Raises the S1Error that ended the request, also if it has been raised before, and Cancelled if the stream was left early.
        """
        async for _ in self:
            pass
        return self._whole_replies()

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


async def response_header(stream: AsyncStream, name: str) -> str | None:
    """Return a header of the stream's response, such as one that a balancer sets; None without it, or if no response begins in time."""
    with contextlib.suppress(TimeoutError, grpc.RpcError):
        metadata = await asyncio.wait_for(stream._call.initial_metadata(), PATIENCE_S)  # noqa: SLF001  # of this module
        return next((str(value) for key, value in metadata or () if key == name), None)
    return None
