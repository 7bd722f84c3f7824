# SPDX-License-Identifier: Apache-2.0
"""How much may run at once, who waits, and who is turned away. Knows no Triton; belongs to one event loop.

A request is admitted when its samples and its tokens (prompt, budgets and answer: the most that
it can come to hold in the KV cache) fit beside those that run. Else it waits, behind those of a
higher priority and those of its own that came before; nobody overtakes within a priority, so a
large request is not starved by small ones. A full waiting room turns away at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from budgetforce.errors import InvalidRequest, Overloaded

_SMOOTHING = 0.2  # weight of the newest reply in the mean that retry_after_s goes by


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may run at once.

    Attributes:
        max_replies: samples.
        max_kv_tokens: tokens that they may come to hold; 0 = the engine's own business.
        max_waiting: requests that wait.
    """

    max_replies: int
    max_kv_tokens: int
    max_waiting: int


@dataclass(order=True, slots=True)
class _Waiter:
    rank: tuple[int, int]  # (minus the priority, number)
    num_replies: int = field(compare=False)
    num_tokens: int = field(compare=False)
    admitted: asyncio.Future[None] = field(compare=False)


class Admission:
    """The gate of one model instance."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._num_replies = self._num_tokens = 0
        self._waiters: list[_Waiter] = []
        self._numbers = itertools.count()
        self._mean_reply_s = 1.0

    @property
    def num_running(self) -> int:
        """Samples that run."""
        return self._num_replies

    @property
    def num_waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiters)

    @asynccontextmanager
    async def admit(self, *, num_replies: int, num_tokens: int, priority: int = 0) -> AsyncIterator[None]:
        """Wait for room and hold it.

        Raises Overloaded if too many wait already, InvalidRequest if there can never be room.
        """
        self._check_size(num_replies, num_tokens)
        await self._enter(num_replies, num_tokens, priority)
        started = time.monotonic()
        try:
            yield
        finally:
            self._mean_reply_s += _SMOOTHING * (time.monotonic() - started - self._mean_reply_s)
            self._leave(num_replies, num_tokens)

    def _check_size(self, num_replies: int, num_tokens: int) -> None:
        if num_replies > self._limits.max_replies:
            raise InvalidRequest("num_samples", num_replies, f"1 to {self._limits.max_replies}, as many as this server runs at once")
        if 0 < self._limits.max_kv_tokens < num_tokens:
            allowed = f"budgets that come to {self._limits.max_kv_tokens} tokens with the prompt, what the KV cache holds"
            raise InvalidRequest("max_thinking_tokens", f"{num_tokens} tokens in all", allowed)

    async def _enter(self, num_replies: int, num_tokens: int, priority: int) -> None:
        if not self._waiters and self._fits(num_replies, num_tokens):
            self._take(num_replies, num_tokens)
            return
        if len(self._waiters) >= self._limits.max_waiting:
            raise self._overloaded()
        waiter = _Waiter((-priority, next(self._numbers)), num_replies, num_tokens, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiters, waiter)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        if not waiter.admitted.cancelled():  # admitted in the very moment it gave up
            self._leave(waiter.num_replies, waiter.num_tokens)
            return
        self._waiters = [other for other in self._waiters if other is not waiter]
        heapq.heapify(self._waiters)
        self._admit_waiters()  # it may have stood before one that fits

    def _leave(self, num_replies: int, num_tokens: int) -> None:
        self._num_replies -= num_replies
        self._num_tokens -= num_tokens
        self._admit_waiters()

    def _admit_waiters(self) -> None:
        while self._waiters and self._fits(self._waiters[0].num_replies, self._waiters[0].num_tokens):
            waiter = heapq.heappop(self._waiters)
            if waiter.admitted.cancelled():
                continue
            self._take(waiter.num_replies, waiter.num_tokens)
            waiter.admitted.set_result(None)

    def _take(self, num_replies: int, num_tokens: int) -> None:
        self._num_replies += num_replies
        self._num_tokens += num_tokens

    def _fits(self, num_replies: int, num_tokens: int) -> bool:
        limits = self._limits
        if limits.max_kv_tokens and self._num_tokens + num_tokens > limits.max_kv_tokens:
            return False
        return self._num_replies + num_replies <= limits.max_replies

    def _overloaded(self) -> Overloaded:
        limits = self._limits
        turns = (len(self._waiters) + 1) / limits.max_replies
        return Overloaded(
            f"{self._num_replies} of {limits.max_replies} replies run and {len(self._waiters)} of {limits.max_waiting} requests wait",
            retry_after_s=round(max(0.1, turns * self._mean_reply_s), 1),
        )
