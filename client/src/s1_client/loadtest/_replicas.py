# SPDX-License-Identifier: Apache-2.0
"""Figures by replica: which server took how many requests, what was lost there, and how even the load is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from s1_client.loadtest._metric_definitions import METRICS, values_of
from s1_client.loadtest._record import Request, Run
from s1_client.loadtest._spread import Spread

UNKNOWN = "unknown"  # no response began, or the balancer does not name the replica


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSummary:
    """The requests that a replica took.

    Attributes:
        replica: its name; ``UNKNOWN`` for requests that ended before any replica had responded.
        num_lost_retryable, num_lost: requests without a complete reply: with an error after which they may be sent again, and
            with another error.
    """

    replica: str
    num_requests: int
    num_done: int
    num_lost_retryable: int
    num_lost: int
    time_to_first_token_ms: Spread


def replica_names(run: Run) -> list[str]:
    """Return the names of all replicas of a run that are known, sorted; empty if none is."""
    found = {request.replica for level in run.levels for request in level.requests if request.replica is not None}
    return sorted(found | set(run.replica_urls))


def summarise_replicas(requests: Sequence[Request], names: Sequence[str]) -> tuple[ReplicaSummary, ...]:
    """Return the figures of each replica, also of those without a request, and then of the unknown ones."""
    if not names:
        return ()
    groups = {name: [request for request in requests if (request.replica or UNKNOWN) == name] for name in (*names, UNKNOWN)}
    return tuple(_summary(name, group) for name, group in groups.items() if group or name != UNKNOWN)


def balance(requests: Sequence[Request], names: Sequence[str]) -> float | None:
    """Return the requests of the busiest replica divided by the mean over all replicas; None without requests of known replicas."""
    counts = Counter(request.replica for request in requests if request.replica in names)
    return max(counts.values()) * len(names) / counts.total() if counts else None


def _summary(name: str, requests: Sequence[Request]) -> ReplicaSummary:
    lost = [request for request in requests if not request.is_done]
    num_retryable = sum(bool(request.is_retryable) for request in lost)
    return ReplicaSummary(
        replica=name,
        num_requests=len(requests),
        num_done=len(requests) - len(lost),
        num_lost_retryable=num_retryable,
        num_lost=len(lost) - num_retryable,
        time_to_first_token_ms=Spread.of(values_of(requests, METRICS["time_to_first_token_ms"])),
    )
