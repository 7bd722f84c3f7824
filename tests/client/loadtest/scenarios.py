# SPDX-License-Identifier: Apache-2.0
"""Build scenarios for tests from the values that matter to a test."""

from __future__ import annotations

from typing import Any

from s1_client.loadtest._jobs import Job
from s1_client.loadtest._scenario import Scenario
from s1_client.loadtest._typed import decode

THOUGHT = {"name": "thought", "prompts": "short", "options": {"max_thinking_tokens": 8, "num_ignore": 1, "max_tokens": 4}}
LOAD = {"concurrency": [2], "num_requests": 4, "max_seconds": 20}


def data(*, work: Any = None, load: Any = None, **values: Any) -> dict[str, Any]:
    """Return the data of a scenario file: one kind of work and one level, with changed values."""
    return {"about": "a test", "work": [{**THOUGHT, **(work or {})}], "load": [{**LOAD, **(load or {})}], **values}


def scenario(**values: Any) -> Scenario:
    """Return the scenario of ``data(**values)``."""
    return decode(Scenario, data(**values))


def job(**work: Any) -> Job:
    """Return a request of work with changed values."""
    return Job(number=0, work=scenario(work=work).work[0], prompt="Exercise 0.1.1. Why?")


def at_rate(*rates: float, **rest: Any) -> dict[str, Any]:
    """Return the values of a load at request rates."""
    return {"concurrency": [], "request_rate": list(rates), **rest}
