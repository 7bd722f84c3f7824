# SPDX-License-Identifier: Apache-2.0
"""Tasks of generated puzzles, all held out of the training of s1-tiny. They are drawn when they are loaded and stored nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from s1_client.evaluation._tasks import BadTask, Question, Task
from s1_client.evaluation.tasks.puzzles import FAMILIES, Puzzle, puzzles

ALL = "puzzles"
NAMES = (*FAMILIES, ALL)
NUM_QUESTIONS, MAX_QUESTIONS, SEED = 300, 10_000, 0  # the rarest family holds out some ten times as many


def families_of(name: str) -> tuple[str, ...]:
    """Return the families of a task: ``puzzles`` has all, "letters,sums" two; () for any other name. Raises BadTask for a repeated one."""
    if name == ALL:
        return FAMILIES
    named = tuple(name.split(","))
    if not set(named) <= set(FAMILIES):
        return ()
    if len(set(named)) < len(named):
        raise BadTask(f"task: got {name!r}, allowed: each of {', '.join(FAMILIES)} at most once")
    return named


def puzzle_task(name: str, num_questions: int | None = None, seed: int | None = None) -> Task:
    """Return a task of ``num_questions`` (300) held-out puzzles, its families in turn; the same for equal arguments. Raises BadTask."""
    number, drawn = NUM_QUESTIONS if num_questions is None else num_questions, SEED if seed is None else seed
    if not 1 <= number <= MAX_QUESTIONS:
        raise BadTask(f"num_questions: got {number}, allowed: 1 to {MAX_QUESTIONS}")
    found = islice(_in_turn(families_of(name), drawn), number)
    return Task(name=name, questions=tuple(map(_question, found)))


def _in_turn(families: Sequence[str], seed: int) -> Iterator[Puzzle]:
    for stream in cycle([puzzles(family, seed, held_out=True) for family in families]):
        yield next(stream)


def _question(puzzle: Puzzle) -> Question:
    """Return the question of a puzzle; its id depends on the problem alone, not on the seed, the wording or the place."""
    key = f"{puzzle.family}-{hashlib.sha256(puzzle.core.encode()).hexdigest()[:12]}"
    return Question(id=key, prompt=puzzle.question, expected=puzzle.answer, grading="integer")
