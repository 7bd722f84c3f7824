# SPDX-License-Identifier: Apache-2.0
"""Which waiting request gets room next, and which may not even wait. Pure: it counts samples, tokens and tenants, and awaits nothing.

The unit is a sample, with the tokens that it can hold in the KV cache (its share of prompt, budgets and answer). Room goes

1. to the highest priority among the requests whose tenant is below its limit;
2. then to the tenant with the fewest running samples;
3. then to the request with the fewest running samples, so that a request of many samples does not overtake others;
4. then to the oldest request, so that none starves.

While a request of a higher priority waits, lower ones get no room: a flood of new requests would take the room that its further
samples wait for. Requests that name no tenant are one tenant, the unnamed one.

An eighth of the room (none if there are fewer than 8 places) is reserved: for named tenants without a running sample, and for requests
of the unnamed tenant without a running sample. So a newcomer need not wait for a sample of a large request to end, and a single named
tenant cannot take all places. An eighth of the queue is reserved likewise for named tenants that have no waiting request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

UNNAMED = ""
_RESERVED_SHARE = 8  # an eighth of the room


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a model instance.

    Attributes:
        max_replies: samples that run concurrently.
        max_kv_tokens: tokens that the running samples may need in the KV cache; 0 = left to the engine.
        max_waiting: requests in the queue.
        max_tenant_replies: samples of a tenant that run concurrently; 0 = no limit of its own.
        max_tenant_waiting: requests of a tenant in the queue; 0 = no limit of its own.
    """

    max_replies: int
    max_kv_tokens: int
    max_waiting: int
    max_tenant_replies: int = 0
    max_tenant_waiting: int = 0


@dataclass(slots=True, eq=False)
class Tenant:
    """A tenant that has requests in the room or in the queue."""

    name: str
    num_running: int = 0
    num_requests: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Candidate:
    """A request for room. ``num_tokens``: that each of its samples may hold; ``number``: its place in the order of arrival."""

    tenant: Tenant
    priority: int
    number: int
    num_tokens: int
    num_running: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """The request's place in the queue of its priority: the lowest rank gets room first."""
        return self.tenant.num_running, self.num_running, self.number

    @property
    def is_newcomer(self) -> bool:
        """Whether its next sample may use reserved room."""
        return self.num_running == 0 and (self.tenant.name == UNNAMED or self.tenant.num_running == 0)


@dataclass(slots=True)
class Room:
    """The account of the running samples.

    Attributes:
        num_replies: samples that run.
        num_tokens: the most KV cache tokens that they may need.
    """

    limits: Limits
    num_replies: int = 0
    num_tokens: int = 0
    _tenants: dict[str, Tenant] = field(default_factory=dict)

    def arrive(self, name: str) -> Tenant:
        """Return the account of the tenant of a request that has arrived; ``depart`` must follow."""
        tenant = self._tenants.setdefault(name, Tenant(name))
        tenant.num_requests += 1
        return tenant

    def depart(self, tenant: Tenant) -> None:
        """Forget a request, and its tenant with the last of them: the number of names has no bound."""
        tenant.num_requests -= 1
        if tenant.num_requests == 0:
            del self._tenants[tenant.name]

    def occupy(self, request: Candidate) -> None:
        """Account for a sample that begins."""
        self._change(request, 1)

    def vacate(self, request: Candidate) -> None:
        """Account for a sample that has ended."""
        self._change(request, -1)

    def _change(self, request: Candidate, number: int) -> None:
        self.num_replies += number
        self.num_tokens += number * request.num_tokens
        request.num_running += number
        request.tenant.num_running += number

    def next(self, waiting: Iterable[Candidate]) -> Candidate | None:
        """Return the waiting request that gets room for a sample: the best of the highest priority, or else the best of those that
        may use the reserved room. None if neither fits.
        """
        eligible = [request for request in waiting if not self.is_at_limit(request.tenant)]
        highest = max((request.priority for request in eligible), default=0)
        urgent = [request for request in eligible if request.priority == highest]
        return self._best(urgent) or self._best(request for request in urgent if request.is_newcomer)

    def is_at_limit(self, tenant: Tenant) -> bool:
        """Return whether the tenant runs as many samples as a tenant may."""
        return 0 < self.limits.max_tenant_replies <= tenant.num_running

    def _best(self, requests: Iterable[Candidate]) -> Candidate | None:
        best = min(requests, key=lambda request: request.rank, default=None)
        return best if best is not None and self._fits(best) else None

    def _fits(self, request: Candidate) -> bool:
        limits, has_reserve = self.limits, self.limits.max_replies >= _RESERVED_SHARE
        share = 0 if request.is_newcomer or not has_reserve else _RESERVED_SHARE
        num_replies = self.num_replies + 1 + _reserved(limits.max_replies, share)
        num_tokens = self.num_tokens + request.num_tokens + _reserved(limits.max_kv_tokens, share)
        return num_replies <= limits.max_replies and (not limits.max_kv_tokens or num_tokens <= limits.max_kv_tokens)

    def may_wait(self, tenant: Tenant, *, num_own: int, num_waiting: int) -> bool:
        """Return whether the queue, with ``num_waiting`` requests and ``num_own`` of ``tenant`` among them, takes one more of its own."""
        limits = self.limits
        if limits.max_tenant_waiting and num_own >= limits.max_tenant_waiting:
            return False
        is_reserved_for_others = tenant.name != UNNAMED and num_own > 0
        return num_waiting + _reserved(limits.max_waiting, _RESERVED_SHARE if is_reserved_for_others else 0) < limits.max_waiting

    def share_of(self, tenant: Tenant) -> tuple[int, int]:
        """Return how many samples of the tenant can run, and how many of its requests can wait, while others have none."""
        limits, share = self.limits, 0 if tenant.name == UNNAMED else _RESERVED_SHARE
        own_replies, own_waiting = limits.max_tenant_replies or limits.max_replies, limits.max_tenant_waiting or limits.max_waiting
        replies = min(own_replies, limits.max_replies - _reserved(limits.max_replies, share))
        return replies, min(own_waiting, limits.max_waiting - _reserved(limits.max_waiting, share))


def _reserved(total: int, share: int) -> int:
    return total // share if share else 0
