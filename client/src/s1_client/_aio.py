# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio: the same surface, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Unpack

from tritonclient.grpc import service_pb2

from s1_client._aio_stream import AsyncConnection, AsyncStream
from s1_client._base import BaseClient
from s1_client._batch import Outcome, Request, Window
from s1_client._errors import AccessDenied, S1Error
from s1_client._options import CallOptions, Prompt
from s1_client._types import Reply


class AsyncClient(BaseClient):
    """``Client`` for asyncio; see BaseClient for the arguments. Belongs to the event loop of its first request."""

    def _connect(self) -> None:
        self._connection = AsyncConnection(self._settings)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; requests that still run are cancelled."""
        await self._connection.close()

    def stream(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> AsyncStream:
        """See ``Client.stream``. To be called where the event loop runs."""
        return AsyncStream(self._connection, self._exchange(prompt, options, request_id), self._settings.model)

    async def think(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> Reply:
        """See ``Client.think``."""
        if (options.get("num_samples") or 1) > 1:
            raise TypeError("think() is for one sample; for several there is samples()")
        return (await self.samples(prompt, request_id=request_id, **options))[0]

    async def samples(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> tuple[Reply, ...]:
        """See ``Client.samples``."""
        async with self.stream(prompt, request_id=request_id, **options) as stream:
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
        """See ``Client.map``."""
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
        """See ``Client.answer_now``."""
        await self._connection.command("answer_now", self._connection.running.id_of(request_id), self._settings.model)

    async def cancel(self, request_id: str) -> None:
        """See ``Client.cancel``."""
        await self._connection.command("cancel", self._connection.running.id_of(request_id), self._settings.model)

    async def is_ready(self) -> bool:
        """See ``Client.is_ready``."""
        try:
            request = service_pb2.ModelReadyRequest(name=self._settings.model)
            return bool((await self._connection.ask("ModelReady", request, self._settings.connect_timeout_s)).ready)
        except AccessDenied:
            raise
        except S1Error:
            return False


async def _outcome(client: AsyncClient, index: int, request: Request) -> Outcome:
    try:
        replies = await client.samples(request.prompt, request_id=request.id, **request.options)
    except (S1Error, TypeError) as error:
        return Outcome(index=index, request=request, error=error)
    return Outcome(index=index, request=request, replies=replies)
