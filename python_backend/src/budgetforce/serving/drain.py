# SPDX-License-Identifier: Apache-2.0
"""Reads the drain file, which announces that the server will stop: a line with a number of seconds. Independent of Triton.

Triton 24.10 does not tell its models that it is stopping: on a signal it refuses their own calls at once, and unloading a model
also refuses the commands to its running requests. So the process that stops the server writes this file, waits, and then stops
Triton.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path


class DrainFile:
    """Watches the file at ``path`` ("" = there is none)."""

    def __init__(self, path: str, log_error: Callable[[str], None]) -> None:
        self._path = Path(path) if path else None
        self._log_error = log_error
        self._was_read = False

    def read(self) -> float | None:
        """Return the seconds that running requests may take, the first time that the file holds them; None otherwise."""
        if self._path is None or self._was_read:
            return None
        try:
            text = self._path.read_text(errors="replace")
        except OSError:
            return None
        if not text.endswith("\n"):  # the writer has not finished
            return None
        self._was_read = True
        return self._seconds(text.strip())

    def _seconds(self, text: str) -> float | None:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if 0 <= seconds < math.inf:
            return seconds
        self._log_error(f"{self._path}: got '{text[:40]}', allowed: a number of seconds >= 0; the server does not drain")
        return None
