# SPDX-License-Identifier: Apache-2.0
"""A ``TokenEngine`` over a library that uses asyncio: progress is queued until the next step.

The event loop runs in a thread. The library only has to be a ``TokenSource``; ``EndDetector``
applies TensorRT-LLM's ending rules, because no library has the same. The library may therefore
sample more ids than count; its generator is closed as soon as the call is over.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from budgetforce.engine.token_engine import EndDetector, KvUsage, ModelLimits, Progress, TokenCall, validate
from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable

RESTART_PAUSE_S = 5.0  # between two attempts to restart a library


class SourceDied(Exception):
    """The library has crashed with all its calls; a new instance can be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledIds:
    """Newly sampled ids. ``num_cached_ids``: ids of the prompt found in the KV cache; None = unknown."""

    ids: tuple[int, ...]
    num_cached_ids: int | None = None


class TokenSource(Protocol):
    """A library that samples on threads, processes or GPUs of its own.

    Attributes:
        limits: limits of the loaded model.
        block_size: ids in a KV block.
    """

    limits: ModelLimits
    block_size: int

    def check(self, call: TokenCall) -> None:
        """Raise InvalidRequest for a call that this library cannot run; ``validate`` has passed."""
        ...

    def sample(self, name: str, call: TokenCall) -> AsyncGenerator[SampledIds, None]:
        """Yield ids up to the library's own end of the call; closing the generator stops the call.

        Raises SourceDied; any other exception fails only this call.
        """
        ...

    def close(self) -> None:
        """Release the resources, also those of a crashed library."""
        ...


class AsyncEngine:
    """Implements ``TokenEngine``. When a source dies, its calls end with EngineUnavailable and a new source is started.

    Args:
        start: starts the library, on the loop; may raise any exception.
        wake: called from the loop's thread when there is progress for ``step``.
        log: receives a message when a library dies or restarts.
    """

    computes_in_step = False

    def __init__(self, start: Callable[[], Awaitable[TokenSource]], wake: Callable[[], None], log: Callable[[str], None]) -> None:
        self._start = start
        self._wake = wake
        self._log = log
        self._progress: deque[Progress] = deque()
        self._tasks: dict[int, asyncio.Task[None]] = {}  # used only on the loop
        self._live: set[int] = set()  # used only by the owner: calls neither cancelled nor finished
        self._next_key = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine-loop", daemon=True)
        self._thread.start()
        try:
            self._source: TokenSource | None = self._on_loop(self._start_source())
        except BaseException:
            self._stop_loop()
            raise
        self.limits = self._source.limits

    def submit(self, call: TokenCall) -> tuple[int, KvUsage]:
        source = self._source
        if source is None:
            raise EngineUnavailable("the engine has died and is being restarted")
        validate(call, source.limits)
        source.check(call)
        key, self._next_key = self._next_key, self._next_key + 1
        usage = KvUsage()
        self._live.add(key)
        self._loop.call_soon_threadsafe(self._begin, source, key, call, usage)
        return key, usage

    def cancel(self, key: int) -> None:
        self._live.discard(key)
        self._loop.call_soon_threadsafe(self._end, key)

    def has_work(self) -> bool:
        return bool(self._progress)

    def step(self) -> list[Progress]:
        live_progress = []
        while self._progress:
            progress = self._progress.popleft()
            if progress.key not in self._live:
                continue
            live_progress.append(progress)
            if progress.finished:
                self._live.discard(progress.key)
        return live_progress

    def close(self) -> None:
        self._on_loop(self._shut_down())
        self._stop_loop()

    # --- on the loop ----------------------------------------------------------------------

    async def _start_source(self) -> TokenSource:
        return await self._start()

    def _begin(self, source: TokenSource, key: int, call: TokenCall, usage: KvUsage) -> None:
        task = asyncio.get_running_loop().create_task(self._run(source, key, call, usage))
        task.add_done_callback(lambda _: self._tasks.pop(key))  # not in the task: it may be cancelled before it starts
        self._tasks[key] = task

    def _end(self, key: int) -> None:
        task = self._tasks.get(key)
        if task is not None:
            task.cancel()

    async def _run(self, source: TokenSource, key: int, call: TokenCall, usage: KvUsage) -> None:
        try:
            await self._follow(source, key, call, usage)
        except SourceDied as error:
            self._report(Progress(key=key, finished=True, error=EngineUnavailable(str(error))))
            self._replace(source, str(error))
        except Exception as error:  # noqa: BLE001  # the libraries' errors have no common base
            self._report(Progress(key=key, finished=True, error=_failure(error)))

    async def _follow(self, source: TokenSource, key: int, call: TokenCall, usage: KvUsage) -> None:
        """Report ids up to the end of the call, by our rules or the library's own, whichever comes first."""
        detector, is_over = EndDetector(call), False
        async with aclosing(source.sample(f"call-{key}", call)) as batches:
            async for sampled in batches:
                kept, is_over = detector.take(sampled.ids)
                if sampled.num_cached_ids is not None:
                    usage.num_reused_blocks = sampled.num_cached_ids // source.block_size
                usage.num_total_blocks = -(-detector.context_len // source.block_size)
                self._report(Progress(key=key, ids=kept, finished=is_over))
                if is_over:
                    break
        if not is_over:
            self._report(Progress(key=key, finished=True))

    def _report(self, progress: Progress) -> None:
        self._progress.append(progress)
        self._wake()

    def _replace(self, dead: TokenSource, reason: str) -> None:
        """Replace a dead source, once, however many calls report it."""
        if self._source is dead:
            self._source = None
            self._log(f"the engine has died ({reason}); restarting it")
            self._restarting = asyncio.get_running_loop().create_task(self._restart(dead))

    async def _restart(self, dead: TokenSource) -> None:
        try:
            dead.close()
        except Exception as error:  # noqa: BLE001  # it is dead; whatever is left of it must not prevent a new start
            self._log(f"the dead engine cannot be released: {_failure(error)}")
        while self._source is None:
            try:
                self._source = await self._start()
            except Exception as error:  # noqa: BLE001  # any failure may be temporary
                self._log(f"the engine cannot be restarted: {_failure(error)}")
                await asyncio.sleep(RESTART_PAUSE_S)

    async def _shut_down(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._source is not None:
            self._source.close()

    # --- on the owner's thread ------------------------------------------------------------

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _failure(error: Exception) -> BudgetForceError:
    if isinstance(error, BudgetForceError):
        return error
    return EngineFailed.of(error)
