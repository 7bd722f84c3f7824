# SPDX-License-Identifier: Apache-2.0
"""The requests of a level: their prompts, options and due times. The same for both drivers; knows no server."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import count, cycle

from s1_client.loadtest._scenario import Scenario, Stage, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that a driver is to send.

    Attributes:
        number: its number in the level, from 0.
        prompt: begins with seed, level and number, so that no KV cache holds the prefix from another request.
    """

    number: int
    work: Work
    prompt: str


def jobs(scenario: Scenario, stage: Stage) -> Iterator[Job]:
    """Yield the requests of a level without end; kinds of work are interleaved evenly by their shares."""
    for number, work in zip(count(), cycle(spread(scenario.work)), strict=False):
        name = f"{scenario.seed}.{stage.number}.{number + 1}"
        yield Job(number=number, work=work, prompt=_short(name, number) if work.prompts == "short" else _long(name, number))


def spread(works: tuple[Work, ...]) -> list[Work]:
    """Return the kinds of work, each as often as its share, interleaved evenly."""
    places = [((turn + 0.5) / work.share, place, work) for place, work in enumerate(works) for turn in range(work.share)]
    return [work for _, _, work in sorted(places, key=lambda entry: entry[:2])]


def _short(name: str, number: int) -> str:
    questions = _texts()["short"]
    return f"Exercise {name}. {questions[number % len(questions)]}"


def _long(name: str, number: int) -> str:
    passages, questions = _texts()["passages"], _texts()["questions"]
    first = number % len(passages)  # consecutive documents begin with different passages
    document = "\n\n".join(passages[first:] + passages[:first])
    return f"Exercise {name}.\n\n{document}\n\n{questions[number % len(questions)]}"


@cache
def _texts() -> dict[str, list[str]]:
    texts: dict[str, list[str]] = tomllib.loads((resources.files("s1_client.loadtest") / "prompts.toml").read_text(encoding="utf-8"))
    return texts


def due_times(scenario: Scenario, stage: Stage) -> list[float]:
    """Return the due times of a level at a request rate, in seconds from its start; those after ``max_seconds`` are left out."""
    generator = random.Random(scenario.seed)  # noqa: S311  # no secret
    times, now = [], 0.0
    for _ in range(stage.load.num_requests):
        times.append(now)
        now += generator.expovariate(stage.value) if stage.distribution == "poisson" else 1 / stage.value
    return [time for time in times if time < stage.load.max_seconds]
