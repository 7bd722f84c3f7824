# SPDX-License-Identifier: Apache-2.0
"""The progress of a run on stderr: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from s1_client import runs
from s1_client.cli.output import echo
from s1_client.runs import Tally

_PACE_S = 600.0  # window of the speed estimate: a reply can take minutes


class TerminalProgress(runs.Progress):
    """Reports a run with a bar where ``console`` is a terminal; its lines are cleaned of control characters."""

    def __init__(self, console: Console | None = None, period_s: float = runs.PERIOD_S) -> None:
        super().__init__(period_s)
        self._console = console or Console(stderr=True)

    def note(self, text: str) -> None:
        """Write a line for the user."""
        echo(text, err=True)

    def draw(self, tally: Tally, started: float) -> AbstractContextManager[Callable[[], None]]:
        """Draw a bar on a terminal, else lines."""
        return self._bar(tally, started) if self._console.is_terminal else super().draw(tally, started)

    @contextmanager
    def _bar(self, tally: Tally, started: float) -> Iterator[Callable[[], None]]:
        counts = TextColumn("[red]{task.fields[failed]} failed[/]  [cyan]{task.fields[rate]:.0f} tokens/s[/]")
        columns = (BarColumn(bar_width=None), MofNCompleteColumn(), counts, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Progress(*columns, console=self._console, speed_estimate_period=_PACE_S, expand=True) as progress:
            task = progress.add_task("", total=tally.num_to_do + tally.num_skipped, completed=tally.num_skipped, failed=0, rate=0.0)

            def changed() -> None:
                ended = tally.num_skipped + tally.num_done + tally.num_failed
                rate = tally.tokens_per_s(time.monotonic() - started)
                progress.update(task, completed=ended, failed=tally.num_failed, rate=rate)

            yield changed
