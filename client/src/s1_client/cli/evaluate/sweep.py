# SPDX-License-Identifier: Apache-2.0
"""``s1 sweep``: questions over a grid of budgets and ignores, and what that makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from s1_client.cli.batch import CONCURRENCY
from s1_client.cli.evaluate.grid import OWN, Grid, Question, read_questions
from s1_client.cli.evaluate.sweep_summary import summarise
from s1_client.cli.evaluate.sweep_table import table
from s1_client.cli.options import SectionedCommand, asked, connect, connection_options, refuse_greedy, request_options
from s1_client.cli.output import echo
from s1_client.cli.progress import TerminalProgress
from s1_client.cli.request_file import opened
from s1_client.cli.shown import show
from s1_client.evaluation._questions import check_values
from s1_client.evaluation.grading.graders import NEEDS
from s1_client.evaluation.grading.judge import JudgeFailed
from s1_client.runs import (
    Refused,
    Tally,
    check_same_run,
    entries_in,
    load_manifest,
    make_folder,
    open_results,
    run,
    save_manifest,
    write_text,
)

SWEEP, REPLIES, SUMMARY, PLOT = "sweep.json", "replies.jsonl", "summary", "sweep"


def integers(least: int) -> Callable[[click.Context, click.Parameter, str | None], tuple[int, ...] | None]:
    """A callback that reads integers with commas between them, each once."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < least or max(numbers) >= 2**31 or len(set(numbers)) < len(numbers):
            raise click.BadParameter(f"got {value!r}, allowed: different integers >= {least}, with commas between them", context, parameter)
        return numbers

    return read


@click.command(cls=SectionedCommand)
@click.argument("question", required=False)
@click.option(
    "--file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True), help="questions: JSON Lines or a JSON array"
)
@click.option("--max-thinking-tokens", "budgets", metavar="N,N,…", callback=integers(-1), help="budgets; -1 = what the context allows")
@click.option("--num-ignore", "ignores", metavar="N,N,…", callback=integers(0), help="how many ends of thinking to refuse  [default: 0]")
@click.option("--repeat", "num_repeats", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="replies to each")
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="default: sweep-… by what is asked")
@click.option("--concurrency", metavar="N", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True, help="requests at once")
@click.option("--overwrite", is_flag=True, help="begin anew: the replies in DIR are lost")
@click.option(
    "--plot-only", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path), help="ask nothing, show what is there"
)
@request_options(leave_out=OWN)
@connection_options
@click.pass_context
def sweep(context: click.Context, /, question: str | None, file: str | None, plot_only: Path | None, **parameters: Any) -> None:
    """Ask QUESTION, or every question of FILE, with every budget (--max-thinking-tokens) and every number of
    refused ends (--num-ignore), and show what that makes of the answers.

    FILE has questions as s1 batch reads them, perhaps with "expected", the right answer, and "grading", how answers
    are held against it, as in s1 eval.

    Prints a table, and writes sweep.png, sweep.svg, summary.json, summary.csv and replies.jsonl (as s1 batch does) into
    DIR. The same command goes on where it stopped; budgets, ignores and repeats may be added to a sweep. Repeat r
    (from 0) uses --seed + r.

    Exit codes: as s1 batch, but if a line of FILE is bad nothing is asked.
    """
    if [question, file, plot_only].count(None) != 2:
        raise click.UsageError("give one of QUESTION, --file and --plot-only")
    if plot_only is not None:
        _show(plot_only, load_manifest(plot_only / SWEEP, "sweep"))
        return
    grid = _grid(_read(file) if file else [Question(key="question", prompt=str(question))], parameters)
    folder = parameters["out"] or Path(f"sweep-{grid.identity()[:8]}")
    tally = _ask(grid, folder, "stdin" if file == "-" else file or "QUESTION", parameters)
    _show(folder, grid.to_dict())
    context.exit(tally.exit_code)


def _read(file: str) -> list[Question]:
    with opened(file) as lines:
        questions, bad = read_questions(lines)
    for one in bad:
        echo(f"{file}:{one.line}: {one.problem}", err=True)
    _check_gradings({question.grading for question in questions})
    if bad or not questions:
        raise Refused(f"{file}: {len(questions)} questions and {len(bad)} bad lines; nothing was asked")
    return questions


def _check_gradings(kinds: set[str | None]) -> None:
    try:
        for kind in kinds & NEEDS.keys():
            NEEDS[str(kind)]()
    except (ImportError, JudgeFailed) as error:
        raise Refused(str(error)) from None


def _grid(questions: list[Question], parameters: Mapping[str, Any]) -> Grid:
    options, num_repeats = asked(parameters), parameters["num_repeats"]
    check_values(options)
    if parameters["budgets"] is None:
        raise click.UsageError("--max-thinking-tokens is missing: the budgets to sweep over")
    if num_repeats > 1:
        refuse_greedy("--repeat", options, {question.key: question.options for question in questions})
    budgets, ignores, model = parameters["budgets"], parameters["ignores"] or (0,), parameters["model"]
    return Grid(questions=questions, options=options, num_repeats=num_repeats, budgets=budgets, ignores=ignores, model=model)


def _ask(grid: Grid, folder: Path, where: str, parameters: Mapping[str, Any]) -> Tally:
    make_folder(folder)
    with open_results(folder / REPLIES, overwrite=parameters["overwrite"]) as results, connect(parameters) as client:
        is_new = parameters["overwrite"] or (folder / REPLIES).stat().st_size == 0
        check_same_run(folder / SWEEP, grid.to_dict(), kind="sweep", is_new=is_new)
        save_manifest(folder / SWEEP, grid.to_dict())
        return run(client, grid, results, TerminalProgress(), where=where, concurrency=parameters["concurrency"])


def _show(folder: Path, what: Mapping[str, Any]) -> None:
    """The table to stdout; the summary and the plot into the folder."""
    try:
        summary = summarise(what, entries_in(folder / REPLIES))
    except (ImportError, JudgeFailed) as error:
        raise Refused(f"{error}; the replies are kept: s1 sweep --plot-only {folder} grades them again") from None
    write_text(folder / f"{SUMMARY}.json", summary.to_json())
    write_text(folder / f"{SUMMARY}.csv", summary.to_csv())
    show(table(summary), markup=True)
    if told := summary.cut_answers():
        echo(told)
    if num_ungraded := sum(row.num_ungraded for row in summary.rows):
        echo(f"{num_ungraded} answers could not be graded and count as wrong", err=True)
    from s1_client.cli.evaluate.sweep_plot import draw  # imports matplotlib, which takes its time

    png, svg = draw(summary, folder / PLOT)
    echo(f"plot: {png}, {svg}; figures: {folder / SUMMARY}.csv; replies: {folder / REPLIES}")
