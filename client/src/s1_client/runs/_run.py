# SPDX-License-Identifier: Apache-2.0
"""A run: what a source asks and the results do not have yet is asked, many at once, and each result kept as it comes.

The source is read twice: to see what there is to do, before anything is asked, and to ask it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import cast

import click

from s1_client import Client, Outcome, S1Error
from s1_client.cli.output import echo
from s1_client.cli.progress import shown
from s1_client.cli.request_file import Asked, BadLine
from s1_client.runs._results import Results
from s1_client.runs._tally import MAX_UNREACHED, Tally

Source = Iterable[Asked | BadLine]


def run(client: Client, source: Source, results: Results, *, where: str, concurrency: int, is_kept: bool = True) -> Tally:
    """Ask what there is to ask; ``where`` is the source's name in messages, and results that are not kept are no help later.

    Raises Refused for what cannot go into these results, and for what stops the run in the middle: KeyboardInterrupt,
    S1Error if no server is there any more, ClickException if the results cannot be written.
    """
    tally = plan(source, results, where)
    with stopped(results, is_kept=is_kept), shown(tally) as changed:
        _ask(client, _missing(source, results, where), results, tally, changed, concurrency)
    return tally


@contextmanager
def stopped(results: Results, *, is_kept: bool = True) -> Iterator[None]:
    """What stops a run in the middle leaves the block, and that it may go on is told."""
    try:
        yield
    except (KeyboardInterrupt, S1Error, OSError) as error:
        if is_kept:
            echo(f"stopped; the same command goes on from there: what has a reply in {results.path} is not asked again", err=True)
        if isinstance(error, OSError):
            raise click.ClickException(f"{results.path}: {error.strerror}") from error
        raise


def plan(source: Source, results: Results, where: str) -> Tally:
    """What there is to do, and the results made ready for it. Bad lines are told."""
    tally, again = Tally(), set()
    for item in source:
        if isinstance(item, BadLine):
            echo(f"{where}:{item.line}: {item.problem}", err=True)
            tally.num_bad_lines += 1
        elif results.has_reply(item, f"{where}:{item.line}"):
            tally.num_skipped += 1
        else:
            tally.num_to_do += 1
            if results.has_error(item):
                again.add(str(item.key))
    if results.is_torn:
        echo(f"{results.path}: its last line is torn, as a killed run leaves it; it is dropped", err=True)
    results.begin(again)
    return tally


def _missing(source: Source, results: Results, where: str) -> Iterator[Asked]:
    for item in source:
        if isinstance(item, Asked) and not results.has_reply(item, f"{where}:{item.line}"):
            yield item


def _ask(client: Client, missing: Iterator[Asked], results: Results, tally: Tally, changed: Callable[[], None], concurrency: int) -> None:
    outcomes = client.map(missing, concurrency=concurrency, ordered=False)
    with closing(cast("Generator[Outcome, None, None]", outcomes)):  # or what runs would go on
        for outcome in outcomes:
            results.write(outcome)
            tally.add(outcome)
            changed()
            if outcome.error is not None and tally.num_unreached >= MAX_UNREACHED:
                raise outcome.error
