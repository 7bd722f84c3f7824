# SPDX-License-Identifier: Apache-2.0
"""The tasks of ``s1 eval`` and ``s1 sweep``: the options that draw generated questions, and loading by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from s1_client._suggest import suggestion
from s1_client.cli.options import Function
from s1_client.evaluation import BadTask, Task, load_task
from s1_client.evaluation._puzzle_tasks import MAX_QUESTIONS, NUM_QUESTIONS, SEED, families_of
from s1_client.evaluation._recipes import NAMES as RECIPES
from s1_client.evaluation._task_loader import BUNDLED
from s1_client.runs import Refused

KNOWN = (*BUNDLED, *RECIPES)


def puzzle_options(function: Function) -> Function:
    """Add the options that say which questions of a generated task are drawn."""
    drawn = "seed that draws the questions of a generated task (--seed is that of the sampling)"
    for option in (
        click.option("--question-seed", metavar="N", type=click.IntRange(min=0), help=f"{drawn}  [default: {SEED}]"),
        click.option(
            "--num-questions",
            metavar="N",
            type=click.IntRange(1, MAX_QUESTIONS),
            help=f"questions of a generated task: letters, chain, sums, puzzles  [default: {NUM_QUESTIONS}]",
        ),
    ):
        function = option(function)
    return function


def task_named(name: str, parameters: Mapping[str, Any]) -> Task:
    """Return the task of a name or file, drawn as the options of ``puzzle_options`` say. Raises Refused."""
    try:
        _refuse_misspelt(name)
        return load_task(name, num_questions=parameters["num_questions"], seed=parameters["question_seed"])
    except BadTask as error:
        raise Refused(_as_options(str(error))) from None


def _refuse_misspelt(name: str) -> None:
    """Raise BadTask for a name that is almost a task's and no file's."""
    is_known = name in KNOWN or families_of(name) or Path(name).exists()
    if not is_known and (near := suggestion(name, KNOWN)):
        raise BadTask(f"task: got {name!r}, which is neither a task nor a file; {near}")


def _as_options(message: str) -> str:
    """Return the message with the names of the options in place of those of the arguments."""
    for argument, option in (("num_questions: ", "--num-questions: "), ("seed: ", "--question-seed: ")):
        if message.startswith(argument):
            return option + message.removeprefix(argument)
    return message
