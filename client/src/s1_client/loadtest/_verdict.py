# SPDX-License-Identifier: Apache-2.0
"""Judge a run: its faults, one sentence each; a run without faults passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from s1_client.loadtest._record import Level, Run


def faults(run: Run, allowed_errors: Collection[str]) -> list[str]:
    """Return the faults of a run: missing levels, problems of a whole level, failed requests that are not allowed, incorrect replies.

    A capacity search goes on until requests fail, so only incorrect replies are its faults.
    """
    find = _incorrect if run.search else lambda level: _faults(level, allowed_errors)
    return [*_missing(run), *(f"{_name(level)}: {fault}" for level in run.levels for fault in find(level))]


def _missing(run: Run) -> Iterator[str]:
    """Yield a fault if the run ended before the last level of its scenario."""
    loads = run.scenario.get("load")
    if run.search or not isinstance(loads, list):
        return
    values = [load.get(mode) for load in loads if isinstance(load, dict) for mode in ("concurrency", "request_rate")]
    num_planned = sum(len(found) for found in values if isinstance(found, list))
    if len(run.levels) < num_planned:
        yield f"the run ended early: {len(run.levels)} of {num_planned} levels were run"


def _faults(level: Level, allowed_errors: Collection[str]) -> Iterator[str]:
    yield from level.problems
    failed = [request for request in level.requests if not request.is_done and request.end not in allowed_errors]
    for (work, end, message), number in Counter((request.work, request.end, request.message) for request in failed).items():
        yield f"work '{work}': {number} failed: {end}: {message}"
    yield from _incorrect(level)


def _incorrect(level: Level) -> Iterator[str]:
    wrong = Counter((request.work, check) for request in level.requests for check in request.checks)
    for (work, check), number in wrong.items():
        yield f"work '{work}': {number} replies are incorrect: {check}"


def _name(level: Level) -> str:
    return f"{level.mode.replace('_', ' ')} {level.value:g}{', Poisson' if level.distribution == 'poisson' else ''}"
