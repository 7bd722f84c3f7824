# SPDX-License-Identifier: Apache-2.0
"""Runs an orchestrator: many requests concurrently on its own thread, or singly in the caller's. Independent of Triton."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Protocol

from budgetforce.errors import Stopping
from budgetforce.serving.drain import DrainFile
from budgetforce.serving.engine_health import EngineHealthMonitor, cancel_check_period_s
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.orchestrator import Orchestrator

NOT_READY_S = 10.0
HEARTBEAT_PERIOD_S = 1.0


class Runtime(Protocol):
    """Accepts requests and makes sure that each is answered."""

    orchestrator: Orchestrator

    def accept(self, incoming: IncomingRequest) -> None:
        """Serve a request, concurrently with others or to its end."""
        ...

    def close(self) -> None:
        """Cancel the running requests and release every resource."""
        ...

    @property
    def engine_is_ready(self) -> bool:
        """Whether the engine answered at the last check; reading it checks nothing."""
        ...

    @property
    def heartbeat_at(self) -> float | None:
        """Unix time of the last heartbeat; None for a runtime that has none while it is idle."""
        ...


class ConcurrentRuntime:
    """Runs all requests on an event loop in a thread of its own.

    ``build`` is called on that loop; ``report`` about ten times a second, on another thread.
    """

    def __init__(self, build: Callable[[], Orchestrator], canary_period_s: float, report: Callable[[Runtime], None]) -> None:
        self._running: dict[asyncio.Task[None], IncomingRequest] = {}
        self._report = report
        self._heartbeat_at = time.time()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="s1-loop", daemon=True)
        self._thread.start()
        self._call(self._set_up(build, canary_period_s))
        self._drain_file = DrainFile(self.orchestrator.config.drain_file, self.orchestrator.log.error)
        self._stopped = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="s1-cancel", daemon=True)
        self._poller.start()

    async def _set_up(self, build: Callable[[], Orchestrator], canary_period_s: float) -> None:
        self.orchestrator = build()
        self._monitor = EngineHealthMonitor(self.orchestrator.engine, canary_period_s)
        self._background = [asyncio.create_task(self._keep_heartbeat())]
        if canary_period_s:
            self._background.append(asyncio.create_task(self._monitor.run()))

    def accept(self, incoming: IncomingRequest) -> None:
        self._loop.call_soon_threadsafe(self._start, incoming)

    @property
    def engine_is_ready(self) -> bool:
        return self._monitor.engine_is_ready

    @property
    def heartbeat_at(self) -> float | None:
        return self._heartbeat_at

    async def _keep_heartbeat(self) -> None:
        """Update the heartbeat from the event loop, so that a loop that hangs is noticed too."""
        while True:
            self._heartbeat_at = time.time()
            await asyncio.sleep(HEARTBEAT_PERIOD_S)

    def close(self) -> None:
        self._stopped.set()
        self._poller.join()
        self._call(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.orchestrator.stream_queue.close()
        self.orchestrator.senders.shutdown()
        self.orchestrator.work.close()

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _start(self, incoming: IncomingRequest) -> None:
        task = self._loop.create_task(self.orchestrator.serve(incoming))
        self._running[task] = incoming
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        incoming = self._running.pop(task)
        if task.cancelled():  # before its first step, or while its error was being sent
            error = incoming.cancelled_by
            self.orchestrator.record_end(incoming, error)
            self.orchestrator.senders.submit(incoming.writer.fail, error, error.report(incoming.name, incoming.so_far))

    async def _shut_down(self) -> None:
        for incoming in self._running.values():
            incoming.ended_by = incoming.ended_by or Stopping("the server is shutting down")
        tasks = [*self._background, *self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # the canary has an engine call, too
        await self.orchestrator.engine.close()

    def _poll(self) -> None:
        """Check for clients that have gone and for the drain file, until ``close``.

        Each check of a client blocks, hence the thread. Nothing may end it: without it no client could cancel.
        """
        while not self._stopped.wait(cancel_check_period_s(len(self._running))):
            for check in (self._check_for_cancels, self._check_drain_file, partial(self._report, self)):
                self._attempt(check)

    def _attempt(self, check: Callable[[], None]) -> None:
        """Make a check; its failure is logged, and hides no other check."""
        try:
            check()
        except Exception:  # a bug of ours, or Triton has no shared memory left
            self.orchestrator.log.exception("checking for cancelled requests failed")

    def _check_for_cancels(self) -> None:
        for task, incoming in self._running.copy().items():
            self._attempt(partial(self._cancel_if_client_has_gone, task, incoming))

    def _cancel_if_client_has_gone(self, task: asyncio.Task[None], incoming: IncomingRequest) -> None:
        if incoming.writer.is_cancelled():
            incoming.note_cancelled()
            self._loop.call_soon_threadsafe(task.cancel)

    def _check_drain_file(self) -> None:
        order = self._drain_file.read()
        if order is not None:
            self._loop.call_soon_threadsafe(self.orchestrator.drain, order)


class SerialRuntime:
    """Runs a single request at a time, everything in the calling thread: cancel checks and sends too.

    The engine is called through Triton's BLS, which two threads of a process cannot use safely.
    """

    def __init__(self, build: Callable[[], Orchestrator], report: Callable[[Runtime], None]) -> None:
        self._report = report
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._set_up(build))
        self._drain_file = DrainFile(self.orchestrator.config.drain_file, self.orchestrator.log.error)

    async def _set_up(self, build: Callable[[], Orchestrator]) -> None:
        self.orchestrator = build()

    def accept(self, incoming: IncomingRequest) -> None:
        self._loop.run_until_complete(self._serve(incoming))
        self._report(self)

    @property
    def engine_is_ready(self) -> bool:
        """False for a while after a request found the engine gone: without a canary only the next request can find out more."""
        return time.monotonic() - self.orchestrator.engine_lost_at > NOT_READY_S

    @property
    def heartbeat_at(self) -> float | None:
        return None

    def close(self) -> None:
        self._loop.run_until_complete(self.orchestrator.engine.close())
        self._loop.close()

    async def _serve(self, incoming: IncomingRequest) -> None:
        self._check_drain_file()
        task = asyncio.create_task(self.orchestrator.serve(incoming))
        while not (await asyncio.wait([task], timeout=cancel_check_period_s(1)))[0]:
            self._report(self)
            self._check_drain_file()
            if incoming.writer.is_cancelled():
                incoming.note_cancelled()
                task.cancel()

    def _check_drain_file(self) -> None:
        order = self._drain_file.read()
        if order is not None:
            self.orchestrator.drain(order)


class InlineExecutor(Executor):
    """Runs a submitted function at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # it belongs to the future, as in any executor
            future.set_exception(error)
        return future
