# SPDX-License-Identifier: Apache-2.0
"""The response that carries a reply from the server to a caller: streamed or whole, and cancelled as soon as the caller has gone.

The first event, or the refusal, is awaited before the status is sent. From then on a second task listens whether the caller is
still there: a queued or silent request must end, too, and Starlette would notice only when it sends the next chunk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from s1_client._aio import AsyncClient
from s1_client._aio_stream import AsyncStream
from s1_client._errors import S1Error
from s1_client._types import Event, Reply
from s1_client.gateway.access import tenant_of
from s1_client.gateway.errors import GONE_STATUS, Refusal, bad_value, refusal_of
from s1_client.gateway.metrics import Meter
from s1_client.gateway.open_requests import OpenRequests
from s1_client.gateway.order import Order, OrderFields
from s1_client.gateway.settings import GatewaySettings
from s1_client.gateway.sse import HEADERS, PING, compact

Fields = TypeVar("Fields", bound=OrderFields)
logger = logging.getLogger("s1_client.gateway")


class Chunks(Protocol):
    """Renders a stream for an API. Each method yields frames."""

    def start(self) -> Iterator[bytes]:
        """Yield the frames before the first event."""
        ...

    def chunks(self, event: Event) -> Iterator[bytes]:
        """Yield the frames of an event."""
        ...

    def end(self) -> Iterator[bytes]:
        """Yield the frames behind the last event."""
        ...

    def failure(self, refusal: Refusal) -> Iterator[bytes]:
        """Yield the frames that end a stream with an error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request, and how its reply is written.

    Attributes:
        request_id: the id that the caller knows.
        api: the API's name in metrics.
        chunks: renders the stream; None = the reply is sent whole.
        body: makes the body of a whole reply.
        error_body: makes the body of an error.
    """

    order: Order
    request_id: str
    api: str
    chunks: Chunks | None
    body: Callable[[Sequence[Reply]], dict[str, Any]]
    error_body: Callable[[Refusal], dict[str, Any]] = Refusal.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """What all replies of a gateway share."""

    client: AsyncClient
    model: str
    settings: GatewaySettings
    open_requests: OpenRequests

    def checked(self, order: Callable[[Fields], Order]) -> Callable[[Fields], Order]:
        """Return ``order`` preceded by a check of the model's name. Raises Refusal (404) for another model."""

        def check(request: Fields) -> Order:
            if request.model != self.model:
                text = f"model: got '{request.model[:80]}', allowed: '{self.model}', the model that this gateway serves"
                raise Refusal(status=404, message=text, param="model", code="model_not_found")
            return order(request)

        return check


class ReplyResponse(Response):
    """The reply to a job, as an ASGI application."""

    def __init__(self, relay: Relay, job: Job, owner: str) -> None:
        super().__init__()
        self._relay = relay
        self._job = job
        self._owner = owner
        self._meter = Meter(job.api)
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        """Send the reply, or leave it as soon as the caller has gone."""
        work = asyncio.create_task(self._answer(send))
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                logger.info("request %r: its caller has gone", self._job.request_id)
        finally:
            gone.cancel()
            work.cancel()
            error, _ = await asyncio.gather(work, gone, return_exceptions=True)
            self._meter.end(500 if isinstance(error, Exception) else GONE_STATUS)  # without effect on a request that has ended
        if isinstance(error, Exception):
            raise error

    async def _answer(self, send: Send) -> None:
        job, relay = self._job, self._relay
        try:
            _check_priority(job.order, relay.settings.max_priority)
            with relay.open_requests.counted(self._owner):
                options: dict[str, Any] = {**job.order.options, "deltas": job.chunks is not None, "tenant": tenant_of(self._owner)}
                async with relay.client.stream(job.order.prompt, request_id=job.request_id, **options) as stream:
                    with relay.open_requests.listed(self._owner, job.request_id, stream):
                        await self._send_reply(stream, send)
        except Refusal as refusal:
            await self._fail(send, refusal)
        except S1Error as error:
            await self._fail(send, refusal_of(error, job.order.spelled))

    async def _send_reply(self, stream: AsyncStream, send: Send) -> None:
        if self._job.chunks is not None:
            await self._send_stream(stream, self._job.chunks, send)
            return
        replies = await stream.replies()
        self._meter.count(reply.result for reply in replies)
        await self._send_json(send, 200, compact(self._job.body(replies)))

    async def _send_stream(self, stream: AsyncStream, chunks: Chunks, send: Send) -> None:
        first: asyncio.Future[Event | None] = asyncio.ensure_future(anext(stream, None))
        try:
            await asyncio.wait({first}, timeout=self._relay.settings.first_event_s)
            if first.done():
                first.result()  # raises the refusal while there is still a status to send
            await self._begin(send)
            pings = asyncio.create_task(self._ping(send))
            try:
                await self._send_events(first, stream, chunks, send)
            finally:
                pings.cancel()
        finally:
            first.cancel()

    async def _send_events(self, first: asyncio.Future[Event | None], stream: AsyncStream, chunks: Chunks, send: Send) -> None:
        await self._send_frames(send, chunks.start())
        event = await first
        self._meter.first_event()
        while event is not None:
            self._meter.event(event)
            await self._send_frames(send, chunks.chunks(event))
            event = await anext(stream, None)
        await self._send_frames(send, chunks.end())
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self._meter.end(200)

    async def _begin(self, send: Send) -> None:
        self._has_begun = True
        await send({"type": "http.response.start", "status": 200, "headers": self._raw(HEADERS)})

    async def _send_frames(self, send: Send, frames: Iterable[bytes]) -> None:
        for frame in frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        self._sent_at = asyncio.get_running_loop().time()

    async def _ping(self, send: Send) -> None:
        """Send a comment after each ``ping_s`` of silence."""
        period_s, loop = self._relay.settings.ping_s, asyncio.get_running_loop()
        self._sent_at = loop.time()
        while True:
            await asyncio.sleep(self._sent_at + period_s - loop.time())
            if loop.time() >= self._sent_at + period_s:
                await self._send_frames(send, [PING])

    async def _fail(self, send: Send, refusal: Refusal) -> None:
        self._meter.end(refusal.status)
        logger.info("request %r: %d %s", self._job.request_id, refusal.status, refusal.code)
        if not self._has_begun:
            await self._send_json(send, refusal.status, compact(self._job.error_body(refusal)), dict(refusal.headers))
        elif self._job.chunks is not None:
            await self._send_frames(send, self._job.chunks.failure(refusal))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_json(self, send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        body = text.encode()
        own = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        self._meter.end(status)
        await send({"type": "http.response.start", "status": status, "headers": self._raw(own)})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _raw(self, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        named = {**headers, "x-request-id": self._job.request_id}
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]


def _check_priority(order: Order, most: int | None) -> None:
    """Raise Refusal for a priority above the gateway's limit: a caller would overtake all others with it."""
    priority = order.options.get("priority", 0)
    if most is not None and priority > most:
        path = order.spelled.get("priority", "priority")
        raise bad_value(path, str(priority), f"at most {most} at this gateway (s1 gateway --max-priority)")


async def _until_gone(receive: Receive) -> None:
    """Return when the caller has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
