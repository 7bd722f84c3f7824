# SPDX-License-Identifier: Apache-2.0
"""Run a capacity search: plan its levels, run them, and judge each. ``_search`` chooses the loads, ``_judgement`` judges."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count, cycle
from statistics import median
from typing import Any

from s1_client.loadtest._jobs import spread
from s1_client.loadtest._judgement import Judgement, judge, trials
from s1_client.loadtest._objective import NEEDS_STREAM, Objective
from s1_client.loadtest._record import Level, Run
from s1_client.loadtest._runner import LoadTest, ProgressListener, RunInProgress
from s1_client.loadtest._scenario import Load, Scenario, Stage
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._typed import Malformed

NUM_TURNS = {"concurrency": 3, "request_rate": 10}  # a level has this many times the requests that are in flight at once


def prepared(scenario: Scenario, search: CapacitySearch, max_seconds: float | None = None, num_requests: int | None = None) -> Scenario:
    """Return the scenario with the search's first level as its only load. ``num_requests``: of a level at least.

    Raises Malformed if the scenario cannot be judged by the objective, or a level cannot have enough requests.
    """
    _check(scenario, search.objective)
    needed = num_needed(scenario, search.objective)
    if num_requests is not None and num_requests < needed:
        raise Malformed(f"num_requests: got {num_requests}, allowed: at least {needed}, to judge p{search.objective.percentile:g}")
    is_rate = search.mode == "request_rate"
    num_requests = max(num_requests or needed, 0 if is_rate else math.ceil(NUM_TURNS[search.mode] * search.least))
    changes: dict[str, Any] = {search.mode: (search.least if is_rate else int(search.least),), "num_requests": num_requests}
    planned = scenario.with_load(**changes, **({} if max_seconds is None else {"max_seconds": max_seconds}))
    least_s = num_requests / search.least if is_rate else 0.0
    if least_s > planned.load[0].max_seconds:
        wanted = f"at least {math.ceil(least_s)} for {num_requests} requests at {search.least:g}/s"
        raise Malformed(f"max_seconds: got {planned.load[0].max_seconds:g}, allowed: {wanted}")
    return planned


def num_needed(scenario: Scenario, objective: Objective) -> int:
    """Return the least number of requests of a level of which enough have each limited latency: only streamed ones have all."""
    is_streamed = any(limit.name in NEEDS_STREAM for limit in objective.limits)
    num_counted = 0
    for number, work in zip(count(1), cycle(spread(scenario.work)), strict=False):
        num_counted += work.stream or not is_streamed
        if num_counted >= objective.num_needed:
            return number
    raise AssertionError("the count of requests never ends")


def _check(scenario: Scenario, objective: Objective) -> None:
    if scenario.allowed_errors:
        raise Malformed(f"allowed_errors: got {', '.join(scenario.allowed_errors)}, allowed in a capacity search: none")
    for work in scenario.work:
        if work.cancel_after_tokens:
            raise Malformed(f"work '{work.name}': cancel_after_tokens: not allowed in a capacity search, which counts complete replies")
    if not any(work.stream for work in scenario.work):
        for limit in objective.limits:
            if limit.name in NEEDS_STREAM:
                raise Malformed(f"{limit.name}: no request of the scenario is streamed, so none has a {limit.title}")


def find_capacity(
    test: LoadTest,
    running: RunInProgress,
    listener: ProgressListener,
    on_trial: Callable[[Level, Judgement], None],
    keep: Callable[[Run], None],
) -> Run:
    """Run levels until the search has ended, and return the record. ``keep`` gets the record after each level that was judged.

    Raises Unjudgeable for a level with too few requests, and the errors of ``_runner.run``.
    """
    search = test.search
    assert search is not None  # the caller's
    while (load := search.next_load(trials(running.levels, search.objective))) is not None:
        level = running.run_level(_stage(test.scenario, search, load, running.levels), listener)
        judgement = judge(level, search.objective)
        keep(running.record())
        on_trial(level, judgement)
    return running.record()


def _stage(scenario: Scenario, search: CapacitySearch, value: float, earlier: list[Level]) -> Stage:
    """Return the next level, with ``NUM_TURNS`` times the requests in flight at once: at a rate, by Little's law."""
    planned = scenario.load[0]
    in_flight = value if search.mode == "concurrency" else value * _latency_s(earlier)
    num_requests = max(planned.num_requests, math.ceil(NUM_TURNS[search.mode] * in_flight))
    return Stage(number=len(earlier) + 1, mode=search.mode, value=value, load=_load(planned, search, value, num_requests))


def _load(planned: Load, search: CapacitySearch, value: float, num_requests: int) -> Load:
    if search.mode == "concurrency":
        return replace(planned, num_requests=num_requests, concurrency=(int(value),))
    return replace(planned, num_requests=num_requests, request_rate=(value,))


def _latency_s(earlier: list[Level]) -> float:
    """Return the median request latency of the first level in seconds; 0.0 before it."""
    done = [request.request_latency_ms for request in earlier[0].done] if earlier else []
    return median(done) / 1e3 if done else 0.0
