# SPDX-License-Identifier: Apache-2.0
"""One progress line on stderr for a long loop: how many of how many, and the estimated time left."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Collection, Iterator
from typing import TypeVar

from budgetforce.building.toolrun import duration

T = TypeVar("T")
TERMINAL_PERIOD_S, PLAIN_PERIOD_S = 0.5, 30.0


class ProgressLine:
    """A line that shows how far a loop is; redrawn on a terminal, written anew every 30 seconds elsewhere."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._done = label, total, 0
        self._started = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def advance(self, num: int = 1) -> None:
        """Count finished items, and show the line if it has not been shown for a while."""
        self._done += num
        now = time.monotonic()
        if now - self._shown >= (TERMINAL_PERIOD_S if self._terminal else PLAIN_PERIOD_S):
            self._shown = now
            self._show(now - self._started)

    def _show(self, seconds: float) -> None:
        left = seconds / self._done * (self._total - self._done) if self._done else 0.0
        text = f"{self._label}: {self._done} of {self._total}, {duration(seconds)}, {duration(left)} left"
        if self._terminal:
            print(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the line from a terminal."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def progress(label: str, items: Collection[T]) -> Iterator[T]:
    """Yield the items, with a progress line on stderr while the loop runs."""
    line = ProgressLine(label, len(items))
    try:
        for item in items:
            yield item
            line.advance()
    finally:
        line.close()
