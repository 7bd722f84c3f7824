# SPDX-License-Identifier: Apache-2.0
"""How much may run at once, who waits, and who is turned away. Knows no Triton; belongs to one event loop.

What is admitted is a sample, with the tokens that it can come to hold in the KV cache (its share of prompt, budgets and
answer). Room goes to the highest priority; then to the request with the fewest samples running, so that a request of many
samples does not overtake others; then to the request that came first, so that nobody starves. An eighth of the room (of
fewer than 8 places: nothing) is kept free for requests that have no sample running: a new one need not wait for a sample of a
large one to end. No room goes to a request while one of a higher priority waits, else a flood of new requests would take
the room that the further samples of that one wait for. A full waiting room turns requests away at once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from budgetforce.errors import InvalidRequest, Overloaded

_SMOOTHING = 0.2  # weight of the newest reply in the mean that retry_after_s goes by
_KEPT_FREE = 8  # one in so many


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


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    priority: int
    number: int
    num_tokens: int  # of each of its samples
    num_running: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sort key of waiters: room goes to the request with the lowest rank."""
        return -self.priority, self.num_running, self.number


@dataclass(slots=True, eq=False)
class _Waiter:
    """A sample that waits."""

    request: _Request
    is_first: bool
    admitted: asyncio.Future[None]


class Admission:
    """The gate of one model instance."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._num_kept_replies = limits.max_replies // _KEPT_FREE
        self._num_kept_tokens = limits.max_kv_tokens // _KEPT_FREE if self._num_kept_replies else 0
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
        """Requests that wait, without a sample that has run."""
        return sum(waiter.is_first for waiter in self._waiters)

    @asynccontextmanager
    async def admit(self, *, num_replies: int, num_tokens: int, priority: int = 0) -> AsyncIterator[Admitted]:
        """Wait for room for the first sample of a request, and hold it. ``num_tokens`` are those of all samples.

        Raises Overloaded if too many wait already, InvalidRequest if there can never be room.
        """
        self._check_size(num_replies, num_tokens)
        request = _Request(priority=priority, number=next(self._numbers), num_tokens=-(-num_tokens // num_replies))
        await self._enter(request, is_first=True)
        started = time.monotonic()
        admitted = Admitted(self, request)
        try:
            yield admitted
        finally:
            self._mean_reply_s += _SMOOTHING * (time.monotonic() - started - self._mean_reply_s)
            admitted.give_back()

    def _check_size(self, num_replies: int, num_tokens: int) -> None:
        if num_replies > self._limits.max_replies:
            raise InvalidRequest("num_samples", num_replies, f"1 to {self._limits.max_replies}, as many as this server runs at once")
        if 0 < self._limits.max_kv_tokens < num_tokens:
            allowed = f"budgets that come to {self._limits.max_kv_tokens} tokens with the prompt, what the KV cache holds"
            raise InvalidRequest("max_thinking_tokens", f"{num_tokens} tokens in all", allowed)

    async def _enter(self, request: _Request, *, is_first: bool) -> None:
        """Wait for room for a sample of ``request``, and take it."""
        waiter = _Waiter(request, is_first, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._admit_waiters()
        if waiter.admitted.done():
            return
        if is_first and self.num_waiting > self._limits.max_waiting:
            self._waiters.remove(waiter)
            raise self._overloaded()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        if not waiter.admitted.cancelled():  # admitted in the very moment it gave up
            self._leave(waiter.request)
            return
        self._waiters.remove(waiter)
        self._admit_waiters()  # it may have stood before one that fits

    def _leave(self, request: _Request) -> None:
        self._num_replies -= 1
        self._num_tokens -= request.num_tokens
        request.num_running -= 1
        self._admit_waiters()

    def _admit_waiters(self) -> None:
        while (waiter := self._next()) is not None:
            self._waiters.remove(waiter)
            self._num_replies += 1
            self._num_tokens += waiter.request.num_tokens
            waiter.request.num_running += 1
            waiter.admitted.set_result(None)

    def _next(self) -> _Waiter | None:
        """The waiter whose turn it is, if it fits: of those with the highest priority, or of those among them for whom room is
        kept free.
        """
        waiters = [waiter for waiter in self._waiters if not waiter.admitted.cancelled()]
        highest = max((waiter.request.priority for waiter in waiters), default=0)
        first = [waiter for waiter in waiters if waiter.request.priority == highest]
        return self._best(first) or self._best(waiter for waiter in first if not waiter.request.num_running)

    def _best(self, waiters: Iterable[_Waiter]) -> _Waiter | None:
        best = min(waiters, key=lambda waiter: waiter.request.rank, default=None)
        return best if best is not None and self._fits(best.request) else None

    def _fits(self, request: _Request) -> bool:
        limits, is_further = self._limits, request.num_running > 0
        num_replies = self._num_replies + 1 + is_further * self._num_kept_replies
        num_tokens = self._num_tokens + request.num_tokens + is_further * self._num_kept_tokens
        return num_replies <= limits.max_replies and (not limits.max_kv_tokens or num_tokens <= limits.max_kv_tokens)

    def _overloaded(self) -> Overloaded:
        limits, num_waiting = self._limits, self.num_waiting
        turns = (num_waiting + 1) / limits.max_replies
        return Overloaded(
            f"{self._num_replies} of {limits.max_replies} replies run and {num_waiting} of {limits.max_waiting} requests wait",
            retry_after_s=round(max(0.1, turns * self._mean_reply_s), 1),
        )


class Admitted:
    """A request that has room for its first sample."""

    def __init__(self, admission: Admission, request: _Request) -> None:
        self._admission = admission
        self._request = request
        self._holds_room = True

    @asynccontextmanager
    async def sample(self) -> AsyncIterator[None]:
        """Wait for room for a sample, and hold it; the first need not wait."""
        if not self._holds_room:
            await self._admission._enter(self._request, is_first=False)  # noqa: SLF001  # one thing in two classes
        self._holds_room = False
        try:
            yield
        finally:
            self._admission._leave(self._request)  # noqa: SLF001  # idem

    def give_back(self) -> None:
        """Give back the first sample's room, if no sample has taken it."""
        if self._holds_room:
            self._holds_room = False
            self._admission._leave(self._request)  # noqa: SLF001  # idem
