# SPDX-License-Identifier: Apache-2.0
"""Admission control: how many samples run concurrently, which request is next, and which is rejected. Independent of Triton; belongs to
one event loop.

The unit is a sample, with the tokens that it can hold in the KV cache (its share of prompt, budgets and answer). Room goes to the
highest priority; then to the request with the fewest running samples, so that a request of many samples does not overtake others;
then to the oldest request, so that none starves. An eighth of the room (none if there are fewer than 8 places) is reserved for
requests without a running sample, so that a new request need not wait for a sample of a large request to end. While a request of a higher
priority waits, lower ones get no room: a flood of new requests would take the room that its further samples wait for. When the queue
is full, requests are rejected at once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from budgetforce.errors import InvalidRequest, Overloaded

_SMOOTHING = 0.2  # weight of the newest reply in the mean duration, from which retry_after_s is estimated
_RESERVED_SHARE = 8  # an eighth of the room


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a model instance.

    Attributes:
        max_replies: samples that run concurrently.
        max_kv_tokens: tokens that the running samples may need in the KV cache; 0 = left to the engine.
        max_waiting: requests in the queue.
    """

    max_replies: int
    max_kv_tokens: int
    max_waiting: int


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    priority: int
    number: int
    num_tokens: int  # that each of its samples may hold
    num_running: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """The request's place in the queue: the lowest rank gets room first."""
        return -self.priority, self.num_running, self.number


@dataclass(slots=True, eq=False)
class _Waiter:
    request: _Request
    is_first: bool
    admitted: asyncio.Future[None]


class Admission:
    """Admits the samples of a model instance."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._num_reserved_replies = limits.max_replies // _RESERVED_SHARE
        self._num_reserved_tokens = limits.max_kv_tokens // _RESERVED_SHARE if self._num_reserved_replies else 0
        self._num_replies = self._num_tokens = 0
        self._waiters: list[_Waiter] = []
        self._numbers = itertools.count()
        self._mean_reply_s = 1.0

    @property
    def num_running(self) -> int:
        """The number of samples that run."""
        return self._num_replies

    @property
    def num_tokens(self) -> int:
        """The most KV cache tokens that the running samples may need."""
        return self._num_tokens

    @property
    def num_waiting(self) -> int:
        """The number of requests that wait for room for their first sample."""
        return sum(waiter.is_first for waiter in self._waiters)

    @asynccontextmanager
    async def admit(self, *, num_replies: int, num_tokens: int, priority: int = 0) -> AsyncIterator[Admitted]:
        """Wait for room for the first sample of a request, and hold it during the context.

        ``num_tokens``: KV cache tokens of all its samples together.

        Raises Overloaded if the queue is full, InvalidRequest if the request can never have room.
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
            admitted.release()

    def _check_size(self, num_replies: int, num_tokens: int) -> None:
        if num_replies > self._limits.max_replies:
            raise InvalidRequest("num_samples", num_replies, f"1 to {self._limits.max_replies}, as many as this server runs concurrently")
        if 0 < self._limits.max_kv_tokens < num_tokens:
            allowed = f"budgets that come to {self._limits.max_kv_tokens} tokens with the prompt, what the KV cache holds"
            raise InvalidRequest("max_thinking_tokens", f"{num_tokens} tokens in all", allowed)

    async def _enter(self, request: _Request, *, is_first: bool) -> None:
        """Wait for room for a sample of ``request``, and occupy it."""
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
        if not waiter.admitted.cancelled():  # it was admitted at the moment it gave up
            self._leave(waiter.request)
            return
        self._waiters.remove(waiter)
        self._admit_waiters()  # it may have blocked a waiter that fits

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
        """Return the next waiter that has room: the best of the highest priority, or else the best of those that may use the
        reserved room. None if neither fits.
        """
        waiters = [waiter for waiter in self._waiters if not waiter.admitted.cancelled()]
        highest = max((waiter.request.priority for waiter in waiters), default=0)
        urgent = [waiter for waiter in waiters if waiter.request.priority == highest]
        return self._best(urgent) or self._best(waiter for waiter in urgent if not waiter.request.num_running)

    def _best(self, waiters: Iterable[_Waiter]) -> _Waiter | None:
        best = min(waiters, key=lambda waiter: waiter.request.rank, default=None)
        return best if best is not None and self._fits(best.request) else None

    def _fits(self, request: _Request) -> bool:
        limits, is_further = self._limits, request.num_running > 0
        num_replies = self._num_replies + 1 + is_further * self._num_reserved_replies
        num_tokens = self._num_tokens + request.num_tokens + is_further * self._num_reserved_tokens
        return num_replies <= limits.max_replies and (not limits.max_kv_tokens or num_tokens <= limits.max_kv_tokens)

    def _overloaded(self) -> Overloaded:
        limits, num_waiting = self._limits, self.num_waiting
        turns = (num_waiting + 1) / limits.max_replies
        return Overloaded(
            f"{self._num_replies} of {limits.max_replies} replies run and {num_waiting} of {limits.max_waiting} requests wait",
            retry_after_s=round(max(0.1, turns * self._mean_reply_s), 1),
        )


class Admitted:
    """The room of a request that has been admitted with its first sample."""

    def __init__(self, admission: Admission, request: _Request) -> None:
        self._admission = admission
        self._request = request
        self._holds_room = True

    @asynccontextmanager
    async def sample(self) -> AsyncIterator[None]:
        """Wait for room for a sample, and hold it during the context; the first sample already has room."""
        if not self._holds_room:
            await self._admission._enter(self._request, is_first=False)  # noqa: SLF001  # both classes keep the same account
        self._holds_room = False
        try:
            yield
        finally:
            self._admission._leave(self._request)  # noqa: SLF001  # as above

    def release(self) -> None:
        """Release the room of the first sample, if no sample has used it."""
        if self._holds_room:
            self._holds_room = False
            self._admission._leave(self._request)  # noqa: SLF001  # as above
