# SPDX-License-Identifier: Apache-2.0
"""The summary of a run, level by level: counts, percentiles and rates. ``summary.json`` holds ``RunSummary`` as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from s1_client.loadtest._capacity_summary import CapacitySummary, summarise_capacity
from s1_client.loadtest._metric_definitions import (
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
from s1_client.loadtest._replicas import ReplicaSummary, balance, replica_names, summarise_replicas
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._spread import Spread
from s1_client.loadtest._verdict import faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """The latency limits of a good request, in milliseconds.

    The defaults are those of MLPerf Inference for Llama 2 70B in the server scenario.
    """

    time_to_first_token_ms: float = 2000.0
    time_per_output_token_ms: float = 200.0

    def is_good(self, request: Request) -> bool:
        """Return whether the reply is complete, passed every check and kept both limits."""
        if not request.is_done or request.checks:
            return False
        per_token = time_per_output_token_ms(request)
        if request.time_to_first_token_ms is None:
            per_token = request.request_latency_ms / max(1, num_output_tokens(request))
        return first_token_ms(request) <= self.time_to_first_token_ms and (per_token or 0.0) <= self.time_per_output_token_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Mean token counts per reply, None without replies. ``injected`` tokens are part of ``thinking``.

    Attributes:
        recomputed: upper bound of the prompt tokens of later rounds that the engine did not find in its KV cache; None if the
            engine does not report it.
    """

    prompt: float | None
    thinking: float | None
    answer: float | None
    injected: float | None
    recomputed: float | None
    refused_ends: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSummary:
    """The figures of a single kind of work in a level."""

    work: str
    num_requests: int
    num_done: int
    thinking_tokens: float | None
    time_to_first_token_ms: Spread
    time_to_first_answer_token_ms: Spread
    request_latency_ms: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSummary:
    """The figures of a level.

    Attributes:
        mode, value, distribution, duration_s, problems: as in the record.
        num_wrong: requests that failed a check.
        num_failed: requests without a complete reply; ``errors`` counts them by error class.
        checks: number of requests for each fault.
        roofline_tokens_per_s: upper bound of the GPUs for ``mean_concurrency`` sequences of the mean context.
        metrics: percentiles by name, see ``_metric_definitions.METRICS``.
        streamed: percentiles of ``_metric_definitions.TIMES`` over the replies that have all three, for figures that compare them.
        thinking_ends, answer_ends: number of replies for each reason that ended the phase.
        works: by kind of work, if there are several.
        replicas: by replica, if any is known.
        balance: the requests of the busiest replica divided by the mean over all replicas: 1 is even; None without replicas.
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
    mean_concurrency: float
    metrics: dict[str, Spread]
    streamed: dict[str, Spread]
    tokens: Tokens
    thinking_ends: dict[str, int]
    answer_ends: dict[str, int]
    works: tuple[WorkSummary, ...]
    replicas: tuple[ReplicaSummary, ...]
    balance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The figures of a run, with the fields that identify it in the record.

    Attributes:
        faults: the run's faults, one sentence each; empty if it passed.
        capacity: the result of a capacity search; None for other runs.
    """

    label: str
    scenario_name: str
    scenario_hash: str
    started_at: str
    driver: str
    faults: tuple[str, ...]
    levels: tuple[LevelSummary, ...]
    capacity: CapacitySummary | None


def summarise(run: Run, slo: Slo) -> RunSummary:
    """Return the summary of a run."""
    return RunSummary(
        label=run.label,
        scenario_name=run.scenario_name,
        scenario_hash=run.scenario_hash,
        started_at=run.started_at,
        driver=run.driver,
        faults=tuple(faults(run, run.scenario.get("allowed_errors", ()))) or (() if run.levels else ("no level was run",)),
        levels=tuple(summarise_level(level, slo, run.roofline, replica_names(run)) for level in run.levels),
        capacity=summarise_capacity(run),
    )


def summarise_level(level: Level, slo: Slo, roofline: Roofline | None = None, replicas: Sequence[str] = ()) -> LevelSummary:
    """Return the summary of a level, which may have no replies or no requests. ``replicas``: names of all those of the run."""
    requests, done = level.requests, level.done
    good = sum(map(slo.is_good, requests))
    concurrency = _rate(sum(request.request_latency_ms for request in requests) / 1e3, level)
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
        roofline_tokens_per_s=roofline.tokens_per_s(concurrency, mean_context(done)) if roofline and done else None,
        goodput_requests_per_s=_rate(good, level),
        share_good=good / len(requests) if requests else None,
        mean_concurrency=concurrency,
        metrics={name: Spread.of(values_of(done, metric)) for name, metric in METRICS.items()},
        streamed={name: Spread.of(values_of(with_all_times(done), METRICS[name])) for name in TIMES},
        tokens=_tokens(done),
        thinking_ends=_ends(request.thinking_end for request in done),
        answer_ends=_ends(request.answer_end for request in done),
        works=_works(requests),
        replicas=summarise_replicas(requests, replicas),
        balance=balance(requests, replicas),
    )


def mean_context(done: Sequence[Request]) -> float:
    """Return the mean context of a running sequence in tokens: the prompt and half of the output."""
    return fmean((request.num_prompt_tokens or 0) + num_output_tokens(request) / 2 for request in done)


def _rate(amount: float, level: Level) -> float:
    return amount / level.duration_s if level.duration_s > 0 else 0.0


def _ends(ends: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(end or "unknown" for end in ends).most_common())


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
