# SPDX-License-Identifier: Apache-2.0
"""``s1 sweep``: an evaluation at a grid of budgets and numbers of refused ends; its questions need no right answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from s1_client.cli.evaluate.plan import Plan, budget_options, check_gradings, folder_options, send_missing
from s1_client.cli.evaluate.show import check_version, show_sweep
from s1_client.cli.evaluate.tasks import KNOWN, puzzle_options, task_named
from s1_client.cli.options import SectionedCommand, complete_from, connection_options, given_options, refuse_greedy, request_options
from s1_client.cli.request_file import open_input
from s1_client.evaluation import BadTask, Protocol, Question, Task
from s1_client.evaluation._questions import check_values
from s1_client.evaluation._tasks import read_questions
from s1_client.runs import Refused

VARIED = ("max_thinking_tokens", "reasoning_effort", "num_ignore", "num_samples")  # options that a question of a sweep must not name


@click.command(cls=SectionedCommand)
@click.argument("question", required=False)
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="questions as JSON Lines or a JSON array; - reads stdin",
)
@click.option("--task", "task", metavar="NAME", shell_complete=complete_from(KNOWN), help="questions of a task of s1 eval, such as letters")
@puzzle_options
@budget_options
@folder_options("sweep")
@click.option(
    "--plot-only",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="send no request, show the sweep in DIR",
)
@request_options(leave_out=VARIED)
@connection_options
@click.pass_context
def sweep(
    context: click.Context, /, question: str | None, file: str | None, task: str | None, plot_only: Path | None, **parameters: Any
) -> None:
    """Ask QUESTION, or every question of FILE or of a task, at every combination of budget (--max-thinking-tokens) and number of
    refused ends (--num-ignore), and show how that changes the answers.

    FILE has questions as s1 batch reads them, optionally with "expected", the right answer, and "grading", how answers
    are compared with it, as in s1 eval.

    Prints a table, and writes sweep.png, sweep.svg, summary.json, summary.csv, settings.json and samples.jsonl (as
    s1 eval does) into DIR; s1 eval --show DIR prints more about a sweep with right answers. The same command continues
    a sweep that was stopped; budgets, numbers of refused ends and repeats may be added. Repeat r (from 0) uses --seed + r.

    Exit codes: as s1 batch, but if a line of FILE is bad no request is sent.
    """
    if [question, file, task, plot_only].count(None) != 3:
        raise click.UsageError("give one of QUESTION, --file, --task and --plot-only")
    if task is None and (parameters["num_questions"] is not None or parameters["question_seed"] is not None):
        raise click.UsageError("--num-questions and --question-seed are for --task, which is not given")
    if plot_only is not None:
        show_sweep(plot_only)
        return
    plan = _plan(_questions(question, file, task, parameters), parameters)
    folder = parameters["out"] or Path(f"sweep-{plan.identity()[:8]}")
    check_version(folder)
    tally = send_missing(plan, folder, parameters)
    show_sweep(folder)
    context.exit(tally.exit_code)


def _questions(question: str | None, file: str | None, task: str | None, parameters: Mapping[str, Any]) -> Task:
    if file:
        return _read(file)
    if task is None:
        return Task(name="question", questions=(Question(id="question", prompt=str(question)),))
    found = task_named(task, parameters)
    check_gradings(found)
    return found


def _read(file: str) -> Task:
    name = "stdin" if file == "-" else file
    try:
        with open_input(file) as lines:
            task = Task(name=Path(name).stem, questions=read_questions(lines, name, varied=VARIED, needs_expected=False))
    except BadTask as error:
        raise Refused(f"{error}\nno request was sent") from None
    check_gradings(task)
    return task


def _plan(task: Task, parameters: Mapping[str, Any]) -> Plan:
    options, num_repeats = given_options(parameters), parameters["num_repeats"]
    check_values(options)
    if parameters["budgets"] is None:
        raise click.UsageError("--max-thinking-tokens is missing: the budgets to sweep over")
    if num_repeats > 1:
        refuse_greedy("--repeat", options, {question.id: question.options for question in task.questions})
    protocol = Protocol(budgets=parameters["budgets"], ignores=parameters["ignores"] or (0,))
    return Plan(
        task=task, protocol=protocol, options=options, num_repeats=num_repeats, max_attempts=1, model=parameters["model"], reward_model=None
    )
