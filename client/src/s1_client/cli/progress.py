# SPDX-License-Identifier: Apache-2.0
"""A run's progress on stderr: a bar on a terminal, else a line now and then; at its end the summary."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from s1_client.cli.output import echo
from s1_client.runs._tally import Tally

PERIOD_S = 10.0
_PACE_S = 600.0  # what the pace is judged by: a reply can take minutes


@contextmanager
def shown(tally: Tally, console: Console | None = None, period_s: float = PERIOD_S) -> Iterator[Callable[[], None]]:
    """Show it until the end of the block. What is yielded is to be called when the tally has changed."""
    started = time.monotonic()
    console = console or Console(stderr=True)
    try:
        with _bar(tally, started, console) if console.is_terminal else _lines(tally, started, period_s) as changed:
            yield changed
    finally:
        echo(tally.summary(time.monotonic() - started), err=True)


@contextmanager
def _bar(tally: Tally, started: float, console: Console) -> Iterator[Callable[[], None]]:
    told = TextColumn("[red]{task.fields[failed]} failed[/]  [cyan]{task.fields[rate]:.0f} tokens/s[/]")
    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), told, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, speed_estimate_period=_PACE_S, expand=True) as progress:
        task = progress.add_task("", total=tally.num_to_do + tally.num_skipped, completed=tally.num_skipped, failed=0, rate=0.0)

        def changed() -> None:
            ended = tally.num_skipped + tally.num_done + tally.num_failed
            rate = tally.tokens_per_s(time.monotonic() - started)
            progress.update(task, completed=ended, failed=tally.num_failed, rate=rate)

        yield changed


@contextmanager
def _lines(tally: Tally, started: float, period_s: float) -> Iterator[Callable[[], None]]:
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(period_s):
            echo(tally.progress(time.monotonic() - started), err=True)

    teller = threading.Thread(target=tell, name="s1-progress", daemon=True)
    teller.start()
    try:
        yield lambda: None
    finally:
        is_over.set()
        teller.join()
