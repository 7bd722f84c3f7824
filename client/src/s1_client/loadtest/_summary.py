# SPDX-License-Identifier: Apache-2.0
"""What a run comes to, level by level: counts, percentiles, rates. ``summary.json`` is ``Summary`` as JSON.

Percentiles are numpy's ``percentile(method="linear")``: between the two nearest values, by where the percentile lies
between them. A percentile of less than 1 / (1 - p) values lies between the two largest, and says little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import numpy as np

from s1_client.loadtest._metrics import (
    METRICS,
    TIMES,
    first_token_ms,
    num_output_tokens,
    num_sampled_tokens,
    time_per_output_token_ms,
    values_of,
    with_all_times,
)
from s1_client.loadtest._record import Level, Request, Run
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._verdict import faults

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """The limits that a good request keeps, in milliseconds.

    The defaults are MLPerf Inference's for Llama 2 70B in its server scenario.
    """

    time_to_first_token_ms: float = 2000.0
    time_per_output_token_ms: float = 200.0

    def is_good(self, request: Request) -> bool:
        """A reply that passed every check and kept both limits."""
        if not request.is_done or request.checks:
            return False
        per_token = time_per_output_token_ms(request)
        if request.time_to_first_token_ms is None:
            per_token = request.request_latency_ms / max(1, num_output_tokens(request))
        return first_token_ms(request) <= self.time_to_first_token_ms and (per_token or 0.0) <= self.time_per_output_token_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles of so many values, in the metric's unit; None without a value."""

    num_values: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        found = [float(one) for one in np.percentile(values, PERCENTILES)] if len(values) else [None] * len(PERCENTILES)
        return cls(num_values=len(values), **{f"p{p}": one for p, one in zip(PERCENTILES, found, strict=True)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Means per reply, None without one. Thinking and answer hold ``injected`` tokens, which the server put in.

    Attributes:
        recomputed: prompt tokens of later rounds that the engine did not find in its KV cache, at most; None where it does not tell.
    """

    prompt: float | None
    thinking: float | None
    answer: float | None
    injected: float | None
    recomputed: float | None
    refused_ends: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSummary:
    """One kind of work of a level."""

    work: str
    num_requests: int
    num_done: int
    thinking_tokens: float | None
    time_to_first_token_ms: Spread
    time_to_first_answer_token_ms: Spread
    request_latency_ms: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSummary:
    """One load.

    Attributes:
        mode, value, distribution, duration_s, problems: as in the record.
        num_wrong: requests that failed a check.
        num_failed: requests without a reply; ``errors`` counts them by code.
        checks: what was wrong with requests, and how often.
        roofline_tokens_per_s: what the GPUs allow at most with ``mean_at_once`` sequences of the mean context.
        metrics: percentiles by name, see ``_metrics.METRICS``.
        streamed: those of ``_metrics.TIMES`` over the replies that have all three, for figures that show them side by side.
        thinking_ends, answer_ends: how often each phase ended for which reason.
        works: by kind of work, if there are several.
    """

    mode: str
    value: float
    distribution: str | None
    duration_s: float
    num_requests: int
    num_done: int
    num_wrong: int
    num_failed: int
    errors: dict[str, int]
    checks: dict[str, int]
    problems: tuple[str, ...]
    requests_per_s: float
    tokens_per_s: float
    roofline_tokens_per_s: float | None
    goodput_requests_per_s: float
    share_good: float | None
    mean_at_once: float
    metrics: dict[str, Spread]
    streamed: dict[str, Spread]
    tokens: Tokens
    thinking_ends: dict[str, int]
    answer_ends: dict[str, int]
    works: tuple[WorkSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run: what it was, in the record's words, and its levels.

    Attributes:
        faults: what was wrong, in sentences; empty = nothing.
    """

    label: str
    scenario_name: str
    scenario_hash: str
    started_at: str
    driver: str
    faults: tuple[str, ...]
    levels: tuple[LevelSummary, ...]


def summarise(run: Run, slo: Slo) -> RunSummary:
    """The summary of a run."""
    return RunSummary(
        label=run.label,
        scenario_name=run.scenario_name,
        scenario_hash=run.scenario_hash,
        started_at=run.started_at,
        driver=run.driver,
        faults=tuple(faults(run, run.scenario.get("allowed_errors", ()))) or (() if run.levels else ("nothing was run",)),
        levels=tuple(summarise_level(level, slo, run.roofline) for level in run.levels),
    )


def summarise_level(level: Level, slo: Slo, roofline: Roofline | None = None) -> LevelSummary:
    """The summary of a level, which may have no reply or no request."""
    requests, done = level.requests, level.done
    good = sum(map(slo.is_good, requests))
    at_once = _rate(sum(request.request_latency_ms for request in requests) / 1e3, level)
    return LevelSummary(
        mode=level.mode,
        value=level.value,
        distribution=level.distribution,
        duration_s=level.duration_s,
        num_requests=len(requests),
        num_done=len(done),
        num_wrong=sum(bool(request.checks) for request in requests),
        num_failed=len(requests) - len(done),
        errors=dict(Counter(request.end for request in requests if not request.is_done).most_common()),
        checks=dict(Counter(check for request in requests for check in request.checks).most_common()),
        problems=level.problems,
        requests_per_s=_rate(len(done), level),
        tokens_per_s=_rate(sum(map(num_sampled_tokens, done)), level),
        roofline_tokens_per_s=roofline.tokens_per_s(at_once, mean_context(done)) if roofline and done else None,
        goodput_requests_per_s=_rate(good, level),
        share_good=good / len(requests) if requests else None,
        mean_at_once=at_once,
        metrics={name: Spread.of(values_of(done, metric)) for name, metric in METRICS.items()},
        streamed={name: Spread.of(values_of(with_all_times(done), METRICS[name])) for name in TIMES},
        tokens=_tokens(done),
        thinking_ends=_ends(request.thinking_end for request in done),
        answer_ends=_ends(request.answer_end for request in done),
        works=_works(requests),
    )


def mean_context(done: Sequence[Request]) -> float:
    """Tokens in the cache of a running sequence, on average over its time: the prompt, and half of what follows."""
    return fmean((request.num_prompt_tokens or 0) + num_output_tokens(request) / 2 for request in done)


def _rate(amount: float, level: Level) -> float:
    return amount / level.duration_s if level.duration_s > 0 else 0.0


def _ends(ends: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(end or "not told" for end in ends).most_common())


def _tokens(done: Sequence[Request]) -> Tokens:
    def mean(read: Callable[[Request], int | None]) -> float | None:
        found = [value for request in done if (value := read(request)) is not None]
        return fmean(found) if found else None

    return Tokens(
        prompt=mean(lambda request: request.num_prompt_tokens),
        thinking=mean(lambda request: request.num_thinking_tokens),
        answer=mean(lambda request: request.num_answer_tokens),
        injected=mean(lambda request: request.num_injected_tokens),
        recomputed=mean(lambda request: request.num_tokens_recomputed),
        refused_ends=mean(lambda request: request.num_ignored),
    )


def _works(requests: Sequence[Request]) -> tuple[WorkSummary, ...]:
    ordered = sorted(requests, key=lambda request: request.work)
    groups = [(work, list(group)) for work, group in groupby(ordered, key=lambda request: request.work)]
    return tuple(_work(work, group) for work, group in groups) if len(groups) > 1 else ()


def _work(work: str, requests: Sequence[Request]) -> WorkSummary:
    done = [request for request in requests if request.is_done]
    return WorkSummary(
        work=work,
        num_requests=len(requests),
        num_done=len(done),
        thinking_tokens=_tokens(done).thinking,
        **{name: Spread.of(values_of(done, METRICS[name])) for name in TIMES},
    )
