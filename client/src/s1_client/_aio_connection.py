# SPDX-License-Identifier: Apache-2.0
"""A connection to a server and its calls, for asyncio. Twin of ``_connection``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s1_client._base_stream import CANCELS_SAFELY, PATIENCE_S, BaseConnection, credentials_of, open_channel, version_of
from s1_client._errors import ConnectionFailed, S1Error
from s1_client._settings import Settings
from s1_client._tracing import Headers
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

    async def initial_metadata(self) -> Any:
        """Return the headers of the response, as soon as it has begun."""
        return await self._call.initial_metadata()

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
        self._credentials = credentials_of(settings)  # now: a file that cannot be read is an error of the client's arguments
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
            self._channel = open_channel(grpc.aio, self._settings, self._credentials)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
            self._infer = streaming_method(self._channel)
            self._infer_open = streaming_method(self._channel, is_open=True)
        return self._stub

    def stream(self, message: Any, timeout_s: float, command: str = "") -> Any:
        """Begin a call, and return it."""
        self._open()
        return self._infer(message, timeout=timeout_s, metadata=self._headers(message.id, command))

    def open_stream(self, message: Any, timeout_s: float, headers: Headers, *, is_open: bool = True) -> AsyncOpenCall:
        """Begin a call, to which with ``is_open`` messages can be added. ``headers``: of its request."""
        self._open()
        method = self._infer_open if is_open else self._infer
        metadata = self._headers(message.id, of_request=headers)
        return AsyncOpenCall(method, message, is_open=is_open, timeout=timeout_s, metadata=metadata)

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
        request = command_request(command, request_id, model=model)
        self.note_command(command, request_id, log_level)
        try:
            async for message in self.stream(request, PATIENCE_S, command):
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
