# SPDX-License-Identifier: Apache-2.0
"""Load a task by name: a bundled file, generated puzzles, a recipe of lm-evaluation-harness, or a file of the user's."""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path

from s1_client._jsonl import Item
from s1_client._suggest import how_to_install
from s1_client.evaluation._puzzle_tasks import NAMES as PUZZLES
from s1_client.evaluation._puzzle_tasks import families_of, puzzle_task
from s1_client.evaluation._recipes import NAMES, entries_of
from s1_client.evaluation._tasks import BadTask, Question, Task, read_questions, task_question

_FILES = ("arithmetic",)
BUNDLED = (*_FILES, *PUZZLES)


def load_task(name: str, *, num_questions: int | None = None, seed: int | None = None) -> Task:
    """Return the task of a bundled name, a recipe's name, or a file's path. Raises BadTask.

    ``letters``, ``chain``, ``sums`` and ``puzzles`` (all three; several with commas) are generated: ``num_questions`` (300) of
    them, drawn with ``seed`` (0). No other task takes these two.
    """
    if families_of(name):
        return puzzle_task(name, num_questions, seed)
    for argument, value in (("num_questions", num_questions), ("seed", seed)):
        if value is not None:
            raise BadTask(f"{argument}: got {value} with task {name!r}, allowed with a generated task: {', '.join(PUZZLES)}")
    return _fixed_task(name)


def _fixed_task(name: str) -> Task:
    if name in NAMES:
        return Task(name=name, questions=_recipe_questions(name))
    if name in _FILES:
        with resources.files("s1_client.evaluation.tasks").joinpath(f"{name}.jsonl").open("rb") as file:
            return Task(name=name, questions=read_questions(file, name))
    try:
        file = io.BytesIO(Path(name).read_bytes())  # a pipe can be read only once
    except OSError as error:
        allowed = f"{', '.join((*BUNDLED, *NAMES))}, or a file of questions"
        raise BadTask(f"task: got {name!r}, allowed: {allowed} ({error.strerror})") from None
    return Task(name=Path(name).stem, questions=read_questions(file, name))


def _recipe_questions(name: str) -> tuple[Question, ...]:
    try:
        entries = enumerate(entries_of(name), 1)
        return tuple(task_question(Item(line=number, value=entry), name) for number, entry in entries)
    except ImportError as error:
        raise BadTask(f"task {name} needs lm-evaluation-harness: {how_to_install('lm-eval')} ({error})") from None
    except OSError as error:
        raise BadTask(f"task {name}: its data set cannot be loaded: {error}") from None
