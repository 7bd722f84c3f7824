# SPDX-License-Identifier: Apache-2.0
"""Judge a level by an objective: the percentile of each limited latency, rejected and failed requests, and a growing backlog."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from s1_client.loadtest._metric_definitions import METRICS
from s1_client.loadtest._objective import LatencyLimit, Objective
from s1_client.loadtest._record import Level, Request
from s1_client.loadtest._search import Trial

REJECTED = "Overloaded"
# One in 700 levels of independent latencies has a larger score by chance. Latencies in a busy server are not independent: in a
# simulation of 8 places at 90% load, 1 to 4% of steady levels with evenly spaced requests have one, and 16 to 33% with Poisson gaps.
GROWTH_Z = 3.0


class Unjudgeable(Exception):  # not an error of the server
    """A level has too few requests to judge the objective by; the message names both numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on a level.

    Attributes:
        percentiles_ms: by metric, the least latency that the objective's percent of the requests do not exceed; None if more
            requests than that have no complete reply.
        num_rejected: requests that ended with ``Overloaded``.
        num_failed: requests that ended with another error, or with an incorrect reply.
        reasons: why the objective does not hold, a sentence each; empty if it holds.
    """

    percentiles_ms: dict[str, float | None]
    num_rejected: int
    num_failed: int
    reasons: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the objective holds at this level."""
        return not self.reasons


def judge(level: Level, objective: Objective) -> Judgement:
    """Return the verdict on a level. Raises Unjudgeable if nothing failed, and there are too few values to say that it holds."""
    num_rejected = sum(request.end == REJECTED for request in level.requests)
    num_failed = sum(is_failed(request) for request in level.requests)
    values = {limit.name: _values(level.requests, limit.name) for limit in objective.limits}
    found = {name: percentile(numbers, objective.percentile) for name, numbers in values.items()}
    shares = (("rejected", num_rejected, objective.max_rejected_percent), ("failed", num_failed, objective.max_failed_percent))
    reasons = [reason for word, num, most in shares for reason in _too_many(word, num, len(level.requests), most)]
    slow = [limit for limit in objective.limits if found[limit.name] > limit.limit_ms]
    slow = [limit for limit in slow if math.isfinite(found[limit.name]) or not reasons]  # else it only follows from the counts
    reasons += [_too_slow(limit, found[limit.name], objective) for limit in slow]
    if level.mode == "request_rate" and is_growing([request.request_latency_ms for request in level.done]):
        reasons.append("the request latency still grows at the end: requests arrive faster than they are served")
    if not reasons:
        _check_enough(level, values, objective)
    finite = {name: value if math.isfinite(value) else None for name, value in found.items()}
    return Judgement(percentiles_ms=finite, num_rejected=num_rejected, num_failed=num_failed, reasons=tuple(reasons))


def trials(levels: Sequence[Level], objective: Objective) -> list[Trial]:
    """Return a trial for each level. Raises Unjudgeable."""
    return [Trial(level.value, judge(level, objective).holds) for level in levels]


def is_failed(request: Request) -> bool:
    """Return whether a request ended with an error other than a rejection, or with an incorrect reply."""
    return bool(request.checks) or (not request.is_done and request.end != REJECTED)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that ``percent`` of the values do not exceed; 0.0 without values."""
    place = math.ceil(round(percent / 100 * len(values), 9))  # rounded: 0.95 * 20 is 19
    return sorted(values)[max(place, 1) - 1] if values else 0.0


def is_growing(values: Sequence[float]) -> bool:
    """Return whether the last third of the values is larger than the third before it (Mann-Whitney test, z > ``GROWTH_Z``).

    The first third, in which the server fills up, is left out.
    """
    third = len(values) // 3
    if third < 2:
        return False
    before, after = np.asarray(values[-2 * third : -third]), np.asarray(values[-third:])
    above = (after[:, None] > before[None, :]).sum() + 0.5 * (after[:, None] == before[None, :]).sum()
    deviation = math.sqrt(third * third * (2 * third + 1) / 12)
    return float(above - third * third / 2) / deviation > GROWTH_Z


def _values(requests: Sequence[Request], name: str) -> list[float]:
    """Return the metric's values; infinity for a request without a complete reply. A reply that was not streamed has none."""
    done = [value for request in requests if request.is_done for value in METRICS[name].values(request)]
    return [*done, *(math.inf for request in requests if not request.is_done)]


def _too_many(word: str, number: int, total: int, most_percent: float) -> Iterator[str]:
    if number > most_percent / 100 * total:
        allowed = f"at most {most_percent:g}%" if most_percent else "none"
        yield f"{number} of {total} requests {word}, allowed: {allowed}"


def _too_slow(limit: LatencyLimit, value: float, objective: Objective) -> str:
    got = f"{value:.0f} ms" if math.isfinite(value) else "without a reply"
    return f"p{objective.percentile:g} {limit.title}: {got}, allowed: {limit.limit_ms:g} ms"


def _check_enough(level: Level, values: dict[str, list[float]], objective: Objective) -> None:
    counts = {limit.title: len(values[limit.name]) for limit in objective.limits} or {"reply": len(level.requests)}
    for title, number in counts.items():
        if number < objective.num_needed:
            name = f"{level.mode.replace('_', ' ')} {level.value:g}"
            raise Unjudgeable(
                f"{name}: {number} requests have a {title}, p{objective.percentile:g} needs {objective.num_needed}; "
                "raise --max-seconds or --requests, or lower --percentile"
            )
