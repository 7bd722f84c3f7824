# SPDX-License-Identifier: Apache-2.0
"""Admission control: requests wait here until they have room, or are rejected. Independent of Triton; belongs to one event loop.

Which of them is next is the policy of ``room``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from budgetforce.errors import InvalidRequest, Overloaded
from budgetforce.serving.room import UNNAMED, Candidate, Limits, Room, Tenant

_SMOOTHING = 0.2  # weight of the newest reply in the mean duration, from which retry_after_s is estimated


@dataclass(slots=True, eq=False)
class _Waiter:
    request: Candidate
    is_first: bool
    admitted: asyncio.Future[None]


@dataclass(slots=True)
class _Waiters:
    """The waiters. Of those for a first sample only the oldest of each tenant and priority can be next, so that a burst of thousands
    of requests costs as much for each as a few do.
    """

    firsts: dict[tuple[Tenant, int], dict[_Waiter, None]] = field(default_factory=dict)
    further: dict[_Waiter, None] = field(default_factory=dict)
    num_first: int = 0

    def add(self, waiter: _Waiter) -> None:
        """Add a waiter; requests come in the order of their numbers."""
        self._group(waiter)[waiter] = None
        self.num_first += waiter.is_first

    def remove(self, waiter: _Waiter) -> None:
        """Remove a waiter, and its group with the last of it: tenants have no bound."""
        del self._group(waiter)[waiter]
        self.num_first -= waiter.is_first
        key = (waiter.request.tenant, waiter.request.priority)
        if not self.firsts.get(key, True):
            del self.firsts[key]

    def _group(self, waiter: _Waiter) -> dict[_Waiter, None]:
        request = waiter.request
        return self.firsts.setdefault((request.tenant, request.priority), {}) if waiter.is_first else self.further

    def num_first_of(self, tenant: Tenant) -> int:
        """Return how many requests of a tenant wait for their first sample."""
        return sum(len(group) for (whose, _), group in self.firsts.items() if whose is tenant)

    def candidates(self) -> dict[Candidate, _Waiter]:
        """Return the oldest waiter of each request that can be next. Those that were cancelled a moment ago are still in the groups."""
        oldest = [next((waiter for waiter in group if not waiter.admitted.cancelled()), None) for group in self.firsts.values()]
        further = [waiter for waiter in reversed(self.further) if not waiter.admitted.cancelled()]
        return {waiter.request: waiter for waiter in (*further, *oldest) if waiter is not None}


class Admission:
    """Admits the samples of a model instance."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = Room(limits)
        self._waiters = _Waiters()
        self._numbers = itertools.count()
        self._mean_reply_s = 1.0

    @property
    def num_running(self) -> int:
        """The number of samples that run."""
        return self._room.num_replies

    @property
    def num_tokens(self) -> int:
        """The most KV cache tokens that the running samples may need."""
        return self._room.num_tokens

    @property
    def num_waiting(self) -> int:
        """The number of requests that wait for room for their first sample."""
        return self._waiters.num_first

    @asynccontextmanager
    async def admit(self, *, num_replies: int, num_tokens: int, priority: int = 0, tenant: str = UNNAMED) -> AsyncIterator[Admitted]:
        """Wait for room for the first sample of a request, and hold it during the context.

        ``num_tokens``: KV cache tokens of all its samples together.

        Raises Overloaded if the queue is full or the tenant has its share of it, InvalidRequest if the request can never have room.
        """
        self._check_size(num_replies, num_tokens)
        account = self._room.arrive(tenant)
        try:
            each = -(-num_tokens // num_replies)
            request = Candidate(tenant=account, priority=priority, number=next(self._numbers), num_tokens=each)
            await self._enter(request, is_first=True)
            started = time.monotonic()
            admitted = Admitted(self, request)
            try:
                yield admitted
            finally:
                self._mean_reply_s += _SMOOTHING * (time.monotonic() - started - self._mean_reply_s)
                admitted.release()
        finally:
            self._room.depart(account)

    def _check_size(self, num_replies: int, num_tokens: int) -> None:
        if num_replies > self._limits.max_replies:
            raise InvalidRequest("num_samples", num_replies, f"1 to {self._limits.max_replies}, as many as this server runs concurrently")
        if 0 < self._limits.max_kv_tokens < num_tokens:
            allowed = f"budgets that come to {self._limits.max_kv_tokens} tokens with the prompt, what the KV cache holds"
            raise InvalidRequest("max_thinking_tokens", f"{num_tokens} tokens in all", allowed)

    async def _enter(self, request: Candidate, *, is_first: bool) -> None:
        """Wait for room for a sample of ``request``, and occupy it."""
        waiter = _Waiter(request, is_first, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._admit_waiters()
        if waiter.admitted.done():
            return
        if is_first:
            self._check_queue(waiter)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _check_queue(self, waiter: _Waiter) -> None:
        """Remove the newest waiter and raise Overloaded if the queue does not take it."""
        self._waiters.remove(waiter)
        tenant = waiter.request.tenant
        if not self._room.may_wait(tenant, num_own=self._waiters.num_first_of(tenant), num_waiting=self.num_waiting):
            raise self._overloaded(tenant)
        self._waiters.add(waiter)

    def _withdraw(self, waiter: _Waiter) -> None:
        if not waiter.admitted.cancelled():  # it was admitted at the moment it gave up
            self._leave(waiter.request)
            return
        self._waiters.remove(waiter)
        self._admit_waiters()  # it may have blocked a waiter that fits

    def _leave(self, request: Candidate) -> None:
        self._room.vacate(request)
        self._admit_waiters()

    def _admit_waiters(self) -> None:
        """Give room to waiters, as long as there is any."""
        while self.num_running < self._limits.max_replies:
            candidates = self._waiters.candidates()
            request = self._room.next(candidates)
            if request is None:
                return
            waiter = candidates[request]
            self._waiters.remove(waiter)
            self._room.occupy(request)
            waiter.admitted.set_result(None)

    def _overloaded(self, tenant: Tenant) -> Overloaded:
        limits, num_waiting = self._limits, self.num_waiting
        turns = (num_waiting + 1) / limits.max_replies
        text = f"{self.num_running} of {limits.max_replies} replies run and {num_waiting} of {limits.max_waiting} requests wait"
        if tenant.name != UNNAMED or limits.max_tenant_waiting:
            text = f"{self._share_of(tenant)}; of all tenants together {text}"
        return Overloaded(text, retry_after_s=round(max(0.1, turns * self._mean_reply_s), 1))

    def _share_of(self, tenant: Tenant) -> str:
        """Return how much of its share a tenant uses."""
        replies, requests = self._room.share_of(tenant)
        name = f"tenant '{tenant.name}'" if tenant.name else "the requests without a tenant"
        own = self._waiters.num_first_of(tenant)
        return f"{name}: {tenant.num_running} of at most {replies} replies run and {own} of at most {requests} requests wait"


class Admitted:
    """The room of a request that has been admitted with its first sample."""

    def __init__(self, admission: Admission, request: Candidate) -> None:
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
