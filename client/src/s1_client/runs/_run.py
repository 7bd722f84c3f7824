# SPDX-License-Identifier: Apache-2.0
"""A run: sends the requests that have no reply in the results yet, many concurrently, and stores each result as it ends.

The source is read twice: first to count the missing requests, then to send them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import cast

from s1_client import Client, Outcome, S1Error
from s1_client.runs._errors import WriteFailed
from s1_client.runs._progress import Progress
from s1_client.runs._requests import BadLine, BatchRequest
from s1_client.runs._results import Results
from s1_client.runs._tally import MAX_UNREACHED, Tally

Source = Iterable[BatchRequest | BadLine]


def run(
    client: Client, source: Source, results: Results, progress: Progress, *, where: str, concurrency: int, is_kept: bool = True
) -> Tally:
    """Send the requests of the source that have no reply yet, and return the tally of the run.

    ``where`` is the source's name in messages; ``is_kept`` says whether a later run will find these results.

    Raises Refused for a request whose id holds the reply to another one, and the error that stops the run early:
    KeyboardInterrupt, S1Error if no server can be reached any more, WriteFailed if the results cannot be written.
    """
    tally = find_missing(source, results, progress, where)
    with keep_on_stop(results, progress, is_kept=is_kept), progress.show(tally) as changed:
        _send(client, _missing(source, results, where), results, tally, changed, concurrency)
    return tally


@contextmanager
def keep_on_stop(results: Results, progress: Progress, *, is_kept: bool = True) -> Iterator[None]:
    """Let the error that stops a run leave the block, after a note that the same command continues it."""
    try:
        yield
    except (KeyboardInterrupt, S1Error, OSError) as error:
        if is_kept:
            progress.note(f"stopped; the same command continues: requests that have a reply in {results.path} are not sent again")
        if isinstance(error, OSError):
            raise WriteFailed(f"{results.path}: {error.strerror}") from error
        raise


def find_missing(source: Source, results: Results, progress: Progress, where: str) -> Tally:
    """Count the requests without a reply, note each bad line, and prepare the results for new lines."""
    tally, again = Tally(), set()
    for item in source:
        if isinstance(item, BadLine):
            progress.note(f"{where}:{item.line}: {item.problem}")
            tally.num_bad_lines += 1
        elif results.has_reply(item, f"{where}:{item.line}"):
            tally.num_skipped += 1
        else:
            tally.num_to_do += 1
            if results.has_error(item):
                again.add(str(item.key))
    if results.is_torn:
        progress.note(f"{results.path}: the last line is incomplete, as a killed run leaves it; it is dropped")
    results.prepare(again)
    return tally


def _missing(source: Source, results: Results, where: str) -> Iterator[BatchRequest]:
    for item in source:
        if isinstance(item, BatchRequest) and not results.has_reply(item, f"{where}:{item.line}"):
            yield item


def _send(
    client: Client, missing: Iterator[BatchRequest], results: Results, tally: Tally, changed: Callable[[], None], concurrency: int
) -> None:
    outcomes = client.map(missing, concurrency=concurrency, ordered=False)
    with closing(cast("Generator[Outcome, None, None]", outcomes)):  # cancels the running requests if the loop is left early
        for outcome in outcomes:
            results.write(outcome)
            tally.add(outcome)
            changed()
            if outcome.error is not None and tally.num_unreached >= MAX_UNREACHED:
                raise outcome.error
