# SPDX-License-Identifier: Apache-2.0
"""Compare two runs: ratios with 95% bootstrap intervals, and whether a difference is distinguishable from noise.

Neighbouring requests are correlated, so this is a block bootstrap: requests are resampled with replacement in blocks of
neighbours by start time, twice as long as the level's concurrency. The interval holds the middle 95% of the resampled ratios.
It covers the sampling noise of these two runs, not the variation between days or machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from s1_client.loadtest._capacity_summary import one_level_per_load
from s1_client.loadtest._metric_definitions import METRICS, num_sampled_tokens
from s1_client.loadtest._record import Level, Run
from s1_client.loadtest._summary import Slo

Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers], Numbers]  # (…, requests, columns) -> (…)
Verdict = Literal["higher", "lower", "indistinguishable", "too few"]

NUM_DRAWS = 1000
SEED = 0
MIN_REQUESTS, MIN_REQUESTS_P95 = 20, 100  # in each run; with fewer an interval would be a guess
MIN_BLOCKS = 10
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of a figure between two runs at the same load.

    Attributes:
        mode, value, distribution: the load, as in the record.
        name: the metric or rate, a key of ``_metric_definitions.TERMS``.
        statistic: "p50" or "p95" over requests (a request with several values counts with their mean), or "mean".
        num_before, num_after: number of requests behind each figure.
        ratio: after / before, None if ``before`` is 0; ``low`` and ``high`` bound its interval, None with too few requests.
        verdict: whether ``after`` is higher or lower; "indistinguishable" if the interval contains 1.
    """

    mode: str
    value: float
    distribution: str | None
    name: str
    statistic: str
    num_before: int
    num_after: int
    before: float
    after: float
    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict


def compare(before: Run, after: Run, slo: Slo, *, seed: int = SEED) -> tuple[Ratio, ...]:
    """Return the ratios of all figures that both runs have, at all loads that both ran. Equal seeds give equal intervals.

    Of a capacity search the levels of a load are joined.
    """
    random = np.random.default_rng(seed)
    before, after = (one_level_per_load(run) if run.search else run for run in (before, after))
    others = {(level.mode, level.value, level.distribution): level for level in after.levels}
    pairs = ((level, others.get((level.mode, level.value, level.distribution))) for level in before.levels)
    return tuple(ratio for level, other in pairs if other is not None for ratio in _ratios(level, other, slo, random))


def _ratios(before: Level, after: Level, slo: Slo, random: np.random.Generator) -> Iterator[Ratio]:
    """Throughput is not compared at a request rate, because the rate fixes it."""
    figures: list[tuple[str, str, Iterator[_Side], Statistic, int]] = []
    levels = (before, after)
    if before.mode == "concurrency":
        figures.append(("tokens_per_s", "mean", map(_throughput, levels), _per_s, MIN_REQUESTS))
    figures.append(("share_good", "mean", (_good(level, slo) for level in levels), _mean, MIN_REQUESTS))
    for name in METRICS:
        figures.append((name, "p50", (_means(name, level) for level in levels), _percentile(50), MIN_REQUESTS))
        figures.append((name, "p95", (_means(name, level) for level in levels), _percentile(95), MIN_REQUESTS_P95))
    for name, statistic, (first, second), function, least in figures:
        is_shown = statistic != "p95" or min(first.num, second.num) >= least  # p50 already says that there are too few
        if first.num and second.num and is_shown:
            yield _ratio(before, (name, statistic), first, second, function, least, random)


@dataclass(frozen=True, slots=True)
class _Side:
    """The requests of a level, a row each, in the order of their starts; ``block``: length of the resampled blocks."""

    rows: Numbers
    block: int

    @property
    def num(self) -> int:
        return len(self.rows)

    def draws(self, random: np.random.Generator) -> Numbers:
        """Return resampled rows, shape (NUM_DRAWS, requests, columns). Blocks wrap around from the last row to the first."""
        starts = random.integers(self.num, size=(NUM_DRAWS, -(-self.num // self.block), 1))
        indices = (starts + np.arange(self.block)) % self.num
        drawn: Numbers = self.rows[indices.reshape(NUM_DRAWS, -1)[:, : self.num]]
        return drawn


def _side(level: Level, rows: Iterable[tuple[float, ...]]) -> _Side:
    found = np.array(list(rows), dtype=np.float64)
    return _Side(found, max(1, min(round(2 * _concurrency(level)), len(found) // MIN_BLOCKS)))


def _concurrency(level: Level) -> float:
    total_s = sum(request.request_latency_ms for request in level.requests) / 1e3
    return total_s / level.duration_s if level.duration_s > 0 else 1.0


def _means(name: str, level: Level) -> _Side:
    each = (METRICS[name].values(request) for request in level.done)
    return _side(level, ((fmean(values),) for values in each if values))


def _good(level: Level, slo: Slo) -> _Side:
    return _side(level, ((float(slo.is_good(request)),) for request in level.requests))


def _throughput(level: Level) -> _Side:
    """Return rows of (tokens, request latency / concurrency): by Little's law the ratio of their sums is the throughput.

    A request without a complete reply has no tokens, as in the summary, but its time counts: it held a client.
    """
    concurrency = _concurrency(level) or 1.0  # 0 if no request took any time
    tokens = ((num_sampled_tokens(request) if request.is_done else 0, request) for request in level.requests)
    return _side(level, ((number, request.request_latency_ms / 1e3 / concurrency) for number, request in tokens))


def _per_s(rows: Numbers) -> Numbers:
    sums = rows.sum(axis=-2)
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1e-9))


def _mean(rows: Numbers) -> Numbers:
    return np.asarray(rows[..., 0].mean(axis=-1))


def _percentile(percent: float) -> Statistic:
    """Return a statistic equal to numpy's percentile, which is ten times slower on many small rows."""

    def read(rows: Numbers) -> Numbers:
        ordered = np.sort(rows[..., 0], axis=-1)
        below, share = divmod(percent / 100 * (ordered.shape[-1] - 1), 1)
        above = min(int(below) + 1, ordered.shape[-1] - 1)
        return np.asarray(ordered[..., int(below)] * (1 - share) + ordered[..., above] * share)

    return read


def _ratio(
    level: Level, figure: tuple[str, str], first: _Side, second: _Side, function: Statistic, least: int, random: np.random.Generator
) -> Ratio:
    before, after = float(function(first.rows)), float(function(second.rows))
    low = high = None
    if min(first.num, second.num) >= least:
        drawn_before, drawn_after = function(first.draws(random)), function(second.draws(random))
        if drawn_before.min() > 0:  # otherwise the ratio is undefined
            low, high = (float(bound) for bound in np.percentile(drawn_after / drawn_before, _INTERVAL))
    return Ratio(
        mode=level.mode,
        value=level.value,
        distribution=level.distribution,
        name=figure[0],
        statistic=figure[1],
        num_before=first.num,
        num_after=second.num,
        before=before,
        after=after,
        ratio=after / before if before > 0 else None,
        low=low,
        high=high,
        verdict=_verdict(low, high),
    )


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "too few"
    return "higher" if low > 1 else "lower" if high < 1 else "indistinguishable"
