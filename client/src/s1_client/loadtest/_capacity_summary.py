# SPDX-License-Identifier: Apache-2.0
"""The result of a capacity search, computed from its record: a row for each trial, the capacity, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from s1_client.loadtest._bottleneck import Limit, limits
from s1_client.loadtest._judgement import Judgement, Unjudgeable, judge
from s1_client.loadtest._record import Level, Run
from s1_client.loadtest._search import CapacitySearch, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSummary:
    """A level of the search. The other attributes are those of ``_judgement.Judgement``.

    Attributes:
        load: concurrency, or request rate in 1/s.
        requests_per_s: complete replies divided by the level's duration.
        holds: whether the objective held; None if there were too few requests to judge it.
    """

    load: float
    num_requests: int
    requests_per_s: float
    num_rejected: int
    num_failed: int
    percentiles_ms: dict[str, float | None]
    holds: bool | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySummary:
    """The result of a capacity search.

    Attributes:
        objective: the objective in words.
        capacity: the largest load at which the objective held, below every load at which it failed; None if there is none.
        failed_at: the smallest load at which it failed; None if it held at the largest load of the search.
        num_confirmations: number of trials in which it held at ``capacity``.
        is_finished: whether the search has ended.
        limits: what limits the load ``failed_at``; of a search without a failure empty.
    """

    mode: str
    objective: str
    capacity: float | None
    failed_at: float | None
    num_confirmations: int
    is_finished: bool
    trials: tuple[TrialSummary, ...]
    limits: tuple[Limit, ...]

    @property
    def conclusion(self) -> str:
        """The result in a sentence."""
        failed = "" if self.failed_at is None else f"; it fails at {named(self.mode, self.failed_at)}"
        if not self.is_finished:
            held = "no load yet" if self.capacity is None else named(self.mode, self.capacity)
            return f"The search has not ended. So far the objective holds at {held}{failed}."
        if self.capacity is None:
            return f"The objective does not hold at the least load of the search, {named(self.mode, self.failed_at or 0.0)}."
        if self.failed_at is None:
            return f"The objective holds at the largest load of the search, {named(self.mode, self.capacity)}; the capacity may be larger."
        return f"Capacity: {named(self.mode, self.capacity)} ({self.num_confirmations} levels held){failed}."


def summarise_capacity(run: Run) -> CapacitySummary | None:
    """Return the result of a run's capacity search; None if the run is none."""
    search = run.search
    if search is None:
        return None
    judged = [(level, _judged(level, search)) for level in run.levels]
    found = [Trial(level.value, judgement.holds) for level, judgement in judged if judgement]
    bracket = search.bracket(found)
    failing = [level for level, judgement in judged if judgement and not judgement.holds and level.value == bracket.failed]
    return CapacitySummary(
        mode=search.mode,
        objective=search.objective.text,
        capacity=bracket.held,
        failed_at=bracket.failed,
        num_confirmations=bracket.num_held,
        is_finished=search.next_load(found) is None,
        trials=tuple(_row(level, judgement) for level, judgement in judged),
        limits=limits(run.levels[0], failing[-1], run.model) if failing else (),
    )


def named(mode: str, load: float) -> str:
    """Return the name of a load, "concurrency 4" or "0.5 requests/s"."""
    return f"concurrency {load:g}" if mode == "concurrency" else f"{load:g} requests/s"


def one_level_per_load(run: Run) -> Run:
    """Return the run with the levels of each load joined, in the order of their loads, for figures with an axis of loads."""
    ordered = sorted(run.levels, key=lambda level: level.value)
    joined = [_joined(list(group)) for _, group in groupby(ordered, key=lambda level: level.value)]
    return replace(run, levels=tuple(joined))


def _joined(levels: list[Level]) -> Level:
    requests = tuple(request for level in levels for request in level.requests)
    return replace(levels[0], requests=requests, duration_s=sum(level.duration_s for level in levels))


def _judged(level: Level, search: CapacitySearch) -> Judgement | None:
    try:
        return judge(level, search.objective)
    except Unjudgeable:
        return None


def _row(level: Level, judgement: Judgement | None) -> TrialSummary:
    unknown = Judgement(percentiles_ms={}, num_rejected=0, num_failed=0, reasons=("too few requests to judge the objective",))
    found = judgement or unknown
    return TrialSummary(
        load=level.value,
        num_requests=len(level.requests),
        requests_per_s=len(level.done) / level.duration_s if level.duration_s > 0 else 0.0,
        num_rejected=found.num_rejected,
        num_failed=found.num_failed,
        percentiles_ms=found.percentiles_ms,
        holds=judgement.holds if judgement else None,
        reasons=found.reasons,
    )
