# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio: the methods of ``Client``, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Unpack

from tritonclient.grpc import service_pb2

from s1_client._aio_connection import AsyncConnection
from s1_client._aio_stream import AsyncStream
from s1_client._base import BaseClient
from s1_client._batch import Outcome, Request, Window
from s1_client._errors import AccessDenied, S1Error, ServerNotReady
from s1_client._options import CallOptions, Prompt
from s1_client._types import Reply


class AsyncClient(BaseClient):
    """A client for asyncio of a Triton server that serves ``s1``. The arguments are those of ``BaseClient``.

        async with AsyncClient("127.0.0.1:8001") as client:
            reply = await client.think("How many r in raspberry?", max_thinking_tokens=200, num_ignore=1)
        print(reply.answer)

    It belongs to the event loop of its first request.
    """

    def _connect(self) -> None:
        self._connection = AsyncConnection(self._settings)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection, which cancels the requests that still run."""
        await self._connection.close()

    def stream(self, prompt: Prompt, *, request_id: str = "", deltas: bool = True, **options: Unpack[CallOptions]) -> AsyncStream:
        """Send a request, and return its reply as a stream of events. Not awaited, but to be called in the event loop.

            async with client.stream("How many r in raspberry?", num_ignore=1) as stream:
                async for event in stream:
                    print(event.text, end="", flush=True)

        Arguments and errors are those of ``Client.stream``.
        """
        return self._stream(prompt, options, request_id, deltas=deltas)

    def _stream(self, prompt: Prompt, options: Mapping[str, Any], request_id: str, *, deltas: bool = True) -> AsyncStream:
        return AsyncStream(self._connection, self._exchange(prompt, options, request_id, deltas=deltas), self._settings.model)

    async def think(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> Reply:
        """Send a request, and return its whole reply of one sample. Arguments and errors are those of ``Client.stream``."""
        self._check_single_sample(options)
        return (await self.samples(prompt, request_id=request_id, **options))[0]

    async def samples(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> tuple[Reply, ...]:
        """Send a request for ``num_samples`` samples, and return a whole reply for each, as ``Client.samples`` does."""
        async with self._stream(prompt, options, request_id) as stream:
            return await stream.replies()

    async def map(
        self,
        requests: Iterable[Prompt | Request],
        *,
        concurrency: int = 64,
        ordered: bool = True,
        progress: Callable[[Outcome], None] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[Outcome]:
        """Send many requests concurrently, and yield their outcomes.

            async for outcome in client.map(questions, concurrency=32):
                print(outcome.index, outcome.error or outcome.reply.answer)

        Arguments are those of ``Client.map``.
        """
        client = self.with_options(**options)
        window = Window(requests, concurrency=concurrency, ordered=ordered)
        tasks: set[asyncio.Task[Outcome]] = set()
        try:
            while True:
                tasks |= {asyncio.create_task(_outcome(client, index, request)) for index, request in window.start()}
                if not tasks:
                    return
                ended, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for outcome in [task.result() for task in ended]:
                    if progress is not None:
                        progress(outcome)
                    for due in window.end(outcome):
                        yield due
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def answer_now(self, request_id: str) -> None:
        """End the thinking of the running request of that id, so that it answers. Chosen as by ``Client.answer_now``."""
        stream = self._connection.running.stream_of(request_id)
        if stream is None:
            await self._connection.command("answer_now", request_id, self._settings.model)
        else:
            await stream.answer_now()

    async def cancel(self, request_id: str) -> None:
        """End the running request of that id; its reader gets ``Cancelled``. Chosen as by ``Client.answer_now``."""
        stream = self._connection.running.stream_of(request_id)
        if stream is None:
            await self._connection.command("cancel", request_id, self._settings.model)
        else:
            await stream.cancel()

    async def check_ready(self) -> None:
        """Raise the S1Error that says why the server can take no request: it does not respond, or has not loaded the model."""
        request = service_pb2.ModelReadyRequest(name=self._settings.model)
        if not (await self._connection.ask("ModelReady", request, self._settings.connect_timeout_s)).ready:
            raise ServerNotReady(f"model '{self._settings.model}' is not ready")

    async def is_ready(self) -> bool:
        """Return whether the server responds and has loaded the model. Raises AccessDenied as ``Client.is_ready`` does."""
        try:
            await self.check_ready()
        except AccessDenied:
            raise
        except S1Error:
            return False
        return True


async def _outcome(client: AsyncClient, index: int, request: Request) -> Outcome:
    try:
        async with client._stream(request.prompt, request.options, request.id) as stream:  # noqa: SLF001  # of this module
            replies = await stream.replies()
    except (S1Error, TypeError) as error:
        return Outcome(index=index, request=request, error=error)
    return Outcome(index=index, request=request, replies=replies)
