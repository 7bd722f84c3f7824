# SPDX-License-Identifier: Apache-2.0
"""The client library's own driver: runs the requests of a level over one connection to each server.

    concurrency     closed loop: N simulated clients, each sends its next request when its reply is complete
    request_rate    open loop: each request is sent when it is due, whether or not earlier ones have ended. Its latencies
                    count from the due time, so that a driver or server that falls behind shows in the figures.

A failed request is an observation like any other and does not end the level. Nothing is retried. Several servers (replicas)
get the requests of each kind of work in turn. Behind a balancer the response header ``x-replica`` tells which replica took a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import count

from s1_client import AsyncClient, AsyncStream, Done, InvalidRequest, S1Error
from s1_client._aio_stream import response_header
from s1_client._settings import Settings
from s1_client.loadtest._jobs import Job, due_times, jobs
from s1_client.loadtest._observation import Observation
from s1_client.loadtest._scenario import Scenario, Stage

OnRequestEnd = Callable[[Observation], None]
REPLICA_HEADER = "x-replica"


def run_stage(servers: Sequence[Settings], scenario: Scenario, stage: Stage, on_end: OnRequestEnd) -> list[Observation]:
    """Run a level, call ``on_end`` with each request that ends, and return all observations in the order of their due times.

    Raises S1Error if the warm-up fails: then there is nothing to measure.
    """
    return asyncio.run(_run_stage(servers, scenario, stage, on_end))


def _client(settings: Settings, deadline_s: float) -> AsyncClient:
    return AsyncClient(
        settings.address if settings.tls is None else f"grpcs://{settings.address}",
        model=settings.model,
        deadline_s=deadline_s,
        connect_timeout_s=settings.connect_timeout_s,
        max_retries=0,
        keepalive_s=settings.keepalive_s,
        tls=settings.tls,
        metadata=dict(settings.metadata),
        tenant=settings.tenant,
        trust_env=settings.proxies,
    )


async def _run_stage(servers: Sequence[Settings], scenario: Scenario, stage: Stage, on_end: OnRequestEnd) -> list[Observation]:
    async with AsyncExitStack() as stack:
        clients = {server.address: await stack.enter_async_context(_client(server, scenario.deadline_s)) for server in servers}
        stream = jobs(scenario, stage)
        measured = [next(stream) for _ in range(stage.load.num_requests)]
        await _warm_up(_Level(clients, lambda _: None), [next(stream) for _ in range(stage.load.num_warmup)], stage)
        level = _Level(clients, on_end)
        await (level.run_closed_loop if stage.mode == "concurrency" else level.run_open_loop)(measured, scenario, stage)
    return sorted(level.seen, key=lambda seen: seen.due_s)


async def _warm_up(level: _Level, measured: list[Job], stage: Stage) -> None:
    num_clients = int(stage.value) if stage.mode == "concurrency" else 1
    pending = iter(measured)
    await asyncio.gather(*(level.run_client(pending, stage.load.max_seconds) for _ in range(num_clients)))
    for seen in level.seen:
        if isinstance(seen.error, S1Error):
            raise seen.error


class _Level:
    """A level while its requests run."""

    def __init__(self, clients: dict[str, AsyncClient], on_end: OnRequestEnd) -> None:
        self.seen: list[Observation] = []
        self._clients = list(clients.items())  # addresses and their clients
        self._turns: dict[str, Iterator[int]] = {}  # for each kind of work
        self._on_end = on_end
        self._started = time.monotonic()

    async def run_closed_loop(self, measured: list[Job], _scenario: Scenario, stage: Stage) -> None:
        pending = iter(measured)
        await asyncio.gather(*(self.run_client(pending, stage.load.max_seconds) for _ in range(int(stage.value))))

    async def run_open_loop(self, measured: list[Job], scenario: Scenario, stage: Stage) -> None:
        async with asyncio.TaskGroup() as group:
            for job, due_s in zip(measured, due_times(scenario, stage), strict=False):
                await asyncio.sleep(due_s - self._now())
                group.create_task(self._run_request(job, due_s))

    async def run_client(self, pending: Iterator[Job], max_seconds: float) -> None:
        """Act as a single client: send pending requests one after the other until none is left or the time is over."""
        while self._now() < max_seconds and (job := next(pending, None)) is not None:
            await self._run_request(job, self._now())

    async def _run_request(self, job: Job, due_s: float) -> None:
        address, client = self._next_client(job)
        seen = Observation(job=job, due_s=due_s, sent_s=self._now(), replica=address if len(self._clients) > 1 else None)
        self.seen.append(seen)
        try:
            await self._read_reply(client, job, seen)
        except (S1Error, TypeError) as error:
            seen.error = error
        seen.ended_s = self._now()
        self._on_end(seen)

    def _next_client(self, job: Job) -> tuple[str, AsyncClient]:
        """Return the next client for this kind of work: kinds come in turn as well, so that one might always meet the same server."""
        turns = self._turns.setdefault(job.work.name, count(job.number))
        return self._clients[next(turns) % len(self._clients)]

    async def _read_reply(self, client: AsyncClient, job: Job, seen: Observation) -> None:
        work = job.work
        commands: set[asyncio.Task[None]] = set()
        async with client.stream(job.prompt, deltas=work.stream, **work.options) as stream:
            try:
                async for event in stream:
                    if work.stream or event.ids or isinstance(event, Done):  # deltas of a whole reply have no ids
                        seen.messages.append((self._now(), event))
                    if not commands and seen.num_tokens >= (work.answer_now_after_tokens or work.cancel_after_tokens or float("inf")):
                        commands.add(asyncio.create_task(self._send_command(stream, seen)))  # concurrently with reading
            finally:
                seen.replica = await response_header(stream, REPLICA_HEADER) or seen.replica
                await asyncio.gather(*commands)

    async def _send_command(self, stream: AsyncStream, seen: Observation) -> None:
        """Send the command of the request's job (cancel or answer now); ignore that the request may have ended meanwhile."""
        try:
            await (stream.cancel() if seen.job.work.cancel_after_tokens else stream.answer_now())
        except InvalidRequest:
            return
        except S1Error as error:
            seen.command_error = error
            return
        seen.command_accepted_s = self._now()

    def _now(self) -> float:
        return time.monotonic() - self._started
