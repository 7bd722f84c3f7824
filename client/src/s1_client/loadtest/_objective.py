# SPDX-License-Identifier: Apache-2.0
"""The objective of a capacity search, and how many requests a level needs so that its percentile can be judged.

A level of n requests of which none exceeds a limit shows, at a confidence of 95%, that at least P% of all requests keep the
limit if (P/100)^n <= 0.05. That is the least n of a level: 5 requests for a median, 29 for p90, 59 for p95, 299 for p99.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from s1_client.loadtest._typed import Malformed

CONFIDENCE = 0.95
_LEAST_PERCENTILE, _MOST_PERCENTILE = 50.0, 99.9


class LatencyLimit(NamedTuple):
    """A limit of an objective: the field, which is also the metric's name, the metric's title, and the limit in milliseconds."""

    name: str
    title: str
    limit_ms: float


_TITLES = {
    "time_to_first_token_ms": "time to first token",
    "time_to_first_answer_token_ms": "time to first answer token",
    "request_latency_ms": "request latency",
}
NEEDS_STREAM = ("time_to_first_token_ms", "time_to_first_answer_token_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The limits that a load must keep. Raises Malformed for a limit that no level could keep or exceed.

    A percentile counts all requests of a level; a request without a complete reply counts as slower than every limit.

    Attributes:
        percentile: percent of the requests that must keep each latency limit.
        time_to_first_token_ms, time_to_first_answer_token_ms, request_latency_ms: latency limits; None = no limit.
        max_rejected_percent: percent of the requests that may be rejected (``Overloaded``).
        max_failed_percent: percent of the requests that may end with another error or an incorrect reply.
    """

    percentile: float = 95.0
    time_to_first_token_ms: float | None = None
    time_to_first_answer_token_ms: float | None = None
    request_latency_ms: float | None = None
    max_rejected_percent: float = 0.0
    max_failed_percent: float = 0.0

    def __post_init__(self) -> None:
        if not _LEAST_PERCENTILE <= self.percentile <= _MOST_PERCENTILE:
            raise Malformed(f"percentile: got {self.percentile:g}, allowed: {_LEAST_PERCENTILE:g} to {_MOST_PERCENTILE:g}")
        for name in _TITLES:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise Malformed(f"{name}: got {value:g}, allowed: a number > 0")
        most = 100 - self.percentile if self.limits else 100.0
        reason = f", because such a request counts as slower than every limit of p{self.percentile:g}" if self.limits else ""
        for name in ("max_rejected_percent", "max_failed_percent"):
            if not 0 <= getattr(self, name) <= most:
                raise Malformed(f"{name}: got {getattr(self, name):g}, allowed: 0 to {most:g}{reason}")

    @property
    def limits(self) -> list[LatencyLimit]:
        """The latency limits, in the order of the times within a reply."""
        return [LatencyLimit(name, title, value) for name, title in _TITLES.items() if (value := getattr(self, name)) is not None]

    @property
    def num_needed(self) -> int:
        """The least number of requests of a level with a value of each limited metric."""
        return math.ceil(math.log(1 - CONFIDENCE) / math.log(self.percentile / 100))

    @property
    def text(self) -> str:
        """The objective in words, such as "p95 time to first token <= 500 ms, no request rejected, no request failed"."""
        limits = [f"p{self.percentile:g} {limit.title} <= {limit.limit_ms:g} ms" for limit in self.limits]
        shares = (("rejected", self.max_rejected_percent), ("failed", self.max_failed_percent))
        return ", ".join([*limits, *(f"at most {share:g}% {word}" if share else f"no request {word}" for word, share in shares)])
