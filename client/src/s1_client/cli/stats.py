# SPDX-License-Identifier: Apache-2.0
"""``s1 stats``: what sample files say about thinking, answers and their lengths."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from s1_client.cli._results import Refused
from s1_client.cli._shown import show
from s1_client.cli._table import number, percent
from s1_client.evaluation._stats import BadSample, Count, Stats, statistics

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
    "no answer",
    "no thinking",
    "too long",
    "over limit",
)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILES", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--tokenizer",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="tokenizer.json of the model, to count tokens of texts; without it their words are counted",
)
@click.option("--context", "context_tokens", metavar="N", default=32768, show_default=True, type=click.IntRange(min=1), help="of the model")
@click.option("--max-thinking-tokens", metavar="N", type=click.IntRange(min=0), help="limit of logs, which do not tell theirs")
@click.option("--max-steps", metavar="N", type=click.IntRange(min=0), help="limit of step-conditional control")
@click.option("--json", "as_json", is_flag=True, help="an object by file, with each response's length")
def stats(files: tuple[Path, ...], tokenizer: Path | None, as_json: bool, **limits: Any) -> None:
    r"""Thinking, answer and total tokens, steps, and responses without an answer or too long, a column for each of FILES:
    what s1 eval, sweep and batch write, or sample logs of lm-eval, which the s1 authors' results are, too.

    "no answer": neither "Answer:" nor "\boxed"; "too long": prompt and response leave less than 8 tokens of the
    context; "over limit": more thinking than the limit. Of logs, thinking is what stands between the markers, and a step a
    line of it, as the authors count. Our own files have exact counts.
    """
    words: list[int] = []
    count = _count_of(tokenizer, words)
    found = {str(path): _statistics(path, count, limits) for path in files}
    if as_json:
        click.echo(json.dumps({name: one.to_dict() for name, one in found.items()}, indent=2))
        return
    show(table(found))
    if words:
        click.echo("counts of logs are words, not tokens: no --tokenizer was given", err=True)


def _statistics(path: Path, count: Count, limits: Mapping[str, Any]) -> Stats:
    try:
        return statistics(_lines(path), count=count, **limits)
    except (BadSample, UnicodeDecodeError) as error:
        raise Refused(f"{path}: {error}") from None


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for place, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise BadSample(f"line {place}: not JSON ({error})") from None
            if not isinstance(entry, dict):
                raise BadSample(f"line {place}: not an object")
            yield entry


def _count_of(tokenizer: Path | None, words: list[int]) -> Count:
    """Counts tokens; without a tokenizer words, which are noted."""
    if tokenizer is None:

        def count(text: str) -> int:
            words.append(len(text.split()))
            return words[-1]

        return count
    try:
        from tokenizers import Tokenizer  # extra eval: only for logs
    except ImportError:
        raise Refused("--tokenizer needs package tokenizers: pip install 's1-client[eval]'") from None
    try:
        encoder = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # noqa: BLE001  # what the library raises for a bad file is a bare Exception
        raise Refused(f"{tokenizer}: not a tokenizer.json ({error})") from None
    return lambda text: len(encoder.encode(text, add_special_tokens=False).ids)


def table(found: Mapping[str, Stats]) -> Table:
    """A column for each file."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("", no_wrap=True)
    for name in found:
        shown.add_column(name, justify="right", overflow="fold")
    for label, cells in zip(_LABELS, zip(*map(_cells, found.values()), strict=True), strict=True):
        shown.add_row(label, *cells)
    return shown


def _cells(one: Stats) -> list[str]:
    means = (one.mean_answer_tokens, one.mean_total_tokens, one.mean_steps, one.mean_step_tokens)
    counts = (one.num_without_answer, one.num_without_thinking, one.num_too_long, one.num_over_limit)
    return [
        str(one.num_samples),
        str(one.num_failed),
        number(one.mean_thinking_tokens, ".1f"),
        f"{number(one.min_thinking_tokens, 'd')}–{number(one.max_thinking_tokens, 'd')}",
        *(number(mean, ".1f") for mean in means),
        percent(one.accuracy),
        *map(str, counts),
    ]
