# SPDX-License-Identifier: Apache-2.0
"""``s1 stats``: statistics of the thinking, the answers and their lengths in sample files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from s1_client._jsonl import is_whole, lines_of, read_json
from s1_client._suggest import how_to_install
from s1_client.cli.evaluate.graded_files import files_of, grade_of
from s1_client.cli.output import echo
from s1_client.cli.tables import number, percent, show
from s1_client.evaluation._stats import BadSample, Count, Stats, statistics, statistics_by_setting
from s1_client.runs import Refused

_LABELS = (
    "responses",
    "failed",
    "thinking, mean",
    "thinking, range",
    "answer, mean",
    "total, mean",
    "steps, mean",
    "tokens a step, mean",
    "right, %",
    "answers cut",
    "no answer",
    "no thinking",
    "too long",
    "over limit",
)
_LABEL_WIDTH, _COLUMN_WIDTH = 20, 11


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILES", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--tokenizer",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="tokenizer.json of the model, to count the tokens of logs; without it words are counted",
)
@click.option(
    "--context",
    "context_tokens",
    metavar="N",
    default=32768,
    show_default=True,
    type=click.IntRange(min=1),
    help="context length of the model, in tokens",
)
@click.option("--max-thinking-tokens", metavar="N", type=click.IntRange(min=0), help="thinking limit of logs, which do not record it")
@click.option("--max-steps", metavar="N", type=click.IntRange(min=0), help="step limit of step-conditional control")
@click.option("--json", "as_json", is_flag=True, help="print a JSON object with an entry for each column, with the length of each response")
def stats(paths: tuple[Path, ...], tokenizer: Path | None, as_json: bool, **limits: Any) -> None:
    r"""Print thinking, answer and total tokens, steps, and the responses that were cut, empty or too long, of FILES or
    folders: those that s1 eval, sweep and batch write, or sample logs of lm-eval, such as the s1 authors' results.

    There is a column for each setting of an evaluation or a sweep, and for each filter of a log; other files have one
    column. Replies of an evaluation or a sweep are graded by the expected answers in their folder.

    "answers cut": by the cap of the answer or the context; "no answer": neither "Answer:" nor "\boxed"; "too long": prompt
    and response leave less than 8 tokens of the context; "over limit": more thinking than the limit. In logs, thinking is
    the text between the markers, and each of its lines is a step, as the authors count. Files of s1 have exact counts.
    """
    words: list[int] = []
    count = _count_of(tokenizer, words)
    found = {str(path): _statistics(path, count, limits) for given in paths for path in files_of(given)}
    if as_json:
        click.echo(json.dumps({name: column.to_dict() for name, column in _named(found).items()}, indent=2))
        return
    for shown in _tables(found, shutil.get_terminal_size().columns):
        show(shown)
    if words:
        echo("counts of logs are words, not tokens: give --tokenizer to count tokens", err=True)


def _statistics(path: Path, count: Count, limits: Mapping[str, Any]) -> dict[str, Stats]:
    """Return the statistics by setting or filter; the name of a single column is ""."""
    try:
        found = statistics_by_setting(_lines(path), count=count, grade=grade_of(path), **limits)
    except (BadSample, OSError) as error:
        raise Refused(f"{path}: {error}") from None
    return {"": next(iter(found.values()))} if len(found) == 1 else found or {"": statistics((), count=count)}


def _named(found: Mapping[str, Mapping[str, Stats]]) -> dict[str, Stats]:
    return {f"{path}: {name}" if name else path: column for path, columns in found.items() for name, column in columns.items()}


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a file, without an incomplete last line, as a killed or running run leaves it, which is reported."""
    place = 0
    with path.open("rb") as file:
        for place, line in lines_of(file):
            try:
                entry = read_json(line, is_log=True)
            except ValueError as error:
                if is_whole(line) or place == 1:
                    raise BadSample(f"line {place}: {error}") from None
                echo(f"{path}: its last line, {place}, is incomplete and left out", err=True)
                return
            if not isinstance(entry, dict):
                raise BadSample(f"line {place}: not an object")
            yield entry
    if not place:
        raise BadSample("the file is empty")


def _count_of(tokenizer: Path | None, words: list[int]) -> Count:
    """Return a function that counts tokens or, without a tokenizer, words, whose counts it appends to ``words``."""
    if tokenizer is None:

        def count(text: str) -> int:
            words.append(len(text.split()))
            return words[-1]

        return count
    try:
        from tokenizers import Tokenizer  # of the extra `eval`
    except ImportError:
        raise Refused(f"--tokenizer needs package tokenizers: {how_to_install('eval')}") from None
    try:
        encoder = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # noqa: BLE001  # the library raises a bare Exception for a bad file
        raise Refused(f"{tokenizer}: not a tokenizer.json ({error})") from None
    return lambda text: len(encoder.encode(text, add_special_tokens=False).ids)


def _tables(found: Mapping[str, Mapping[str, Stats]], width: int) -> Iterator[Table | str]:
    """Yield one table for all files with a single column, and for each other file as many as its columns need."""
    alone = {path: columns[""] for path, columns in found.items() if "" in columns}
    if alone:
        yield table(alone)
    for path, columns in found.items():
        if path not in alone:
            yield f"{path}:"
            names = sorted(columns, key=_by_numbers)
            at_once = max(1, (width - _LABEL_WIDTH) // (_COLUMN_WIDTH + 1))
            for start in range(0, len(names), at_once):
                yield table({name: columns[name] for name in names[start : start + at_once]}, max_width=_COLUMN_WIDTH)
                yield ""


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 16 before 128, and a setting with refused ends after the one without."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def table(found: Mapping[str, Stats], max_width: int | None = None) -> Table:
    """Return a table with a column for each name."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("", no_wrap=True)
    for name in found:
        shown.add_column(name, justify="right", overflow="fold", max_width=max_width)
    for label, cells in zip(_LABELS, zip(*map(_cells, found.values()), strict=True), strict=True):
        shown.add_row(label, *cells)
    return shown


def _cells(column: Stats) -> list[str]:
    means = (column.mean_answer_tokens, column.mean_total_tokens, column.mean_steps, column.mean_step_tokens)
    cut = number(column.num_answers_cut, "d")
    counts = (column.num_without_answer, column.num_without_thinking, column.num_too_long, column.num_over_limit)
    return [
        str(column.num_samples),
        str(column.num_failed),
        number(column.mean_thinking_tokens, ".1f"),
        f"{number(column.min_thinking_tokens, 'd')}–{number(column.max_thinking_tokens, 'd')}",
        *(number(mean, ".1f") for mean in means),
        percent(column.accuracy),
        cut,
        *map(str, counts),
    ]
