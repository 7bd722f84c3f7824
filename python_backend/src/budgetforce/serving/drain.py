# SPDX-License-Identifier: Apache-2.0
"""Reads the drain file, which announces that the server will stop. Independent of Triton.

Its only line is ``announce`` (the server shows that it drains, and still serves new requests), or a number of seconds (new requests
are rejected, and running requests have so long). The first may come before the second or be left out.

Triton 24.10 does not tell its models that it is stopping: on a signal it refuses their own calls at once, and unloading a model
also refuses the commands to its running requests. So the process that stops the server writes this file, waits, and then stops
Triton.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from budgetforce.config import ANNOUNCE


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """A step of the drain.

    Attributes:
        seconds: that running requests may take; None = new requests are still served.
    """

    seconds: float | None


class DrainFile:
    """Watches the file at ``path`` ("" = there is none)."""

    def __init__(self, path: str, log_error: Callable[[str], None]) -> None:
        self._path = Path(path) if path else None
        self._log_error = log_error
        self._last_line = ""

    def read(self) -> DrainOrder | None:
        """Return the order in the file, the first time that the file holds it; None otherwise."""
        if self._path is None:
            return None
        try:
            text = self._path.read_text(errors="replace")
        except OSError:
            return None
        if not text.endswith("\n") or text == self._last_line:  # without the line end the writer has not finished
            return None
        self._last_line = text
        return self._order(text.strip())

    def _order(self, text: str) -> DrainOrder | None:
        if text == ANNOUNCE:
            return DrainOrder(None)
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if 0 <= seconds < math.inf:
            return DrainOrder(seconds)
        self._log_error(f"{self._path}: got '{text[:40]}', allowed: {ANNOUNCE}, or a number of seconds >= 0; the server does not drain")
        return None
