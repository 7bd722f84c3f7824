# SPDX-License-Identifier: Apache-2.0
"""The progress of a run as plain lines on stderr; the command draws a bar on a terminal (``s1_client.cli.progress``)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from s1_client.runs._tally import Tally

PERIOD_S = 10.0


class Progress:
    """Reports a run on stderr: a line every ``period_s`` seconds, and a summary at the end."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s

    def note(self, text: str) -> None:
        """Write a line for the user."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def show(self, tally: Tally) -> Iterator[Callable[[], None]]:
        """Report the tally until the block ends. Yields the function to call after each change of the tally."""
        started = time.monotonic()
        try:
            with self.draw(tally, started) as changed:
                yield changed
        finally:
            self.note(tally.summary(time.monotonic() - started))

    def draw(self, tally: Tally, started: float) -> AbstractContextManager[Callable[[], None]]:
        """Draw the tally of a run that ``started`` at that time of the monotonic clock, without the summary."""
        return self._lines(tally, started)

    @contextmanager
    def _lines(self, tally: Tally, started: float) -> Iterator[Callable[[], None]]:
        is_over = threading.Event()

        def report() -> None:
            while not is_over.wait(self._period_s):
                self.note(tally.progress(time.monotonic() - started))

        reporter = threading.Thread(target=report, name="s1-progress", daemon=True)
        reporter.start()
        try:
            yield lambda: None
        finally:
            is_over.set()
            reporter.join()
