# SPDX-License-Identifier: Apache-2.0
"""Stop words in streamed text: found across any cut, never shown, never half shown."""

from __future__ import annotations

from collections.abc import Sequence


class StopWordFilter:
    """Passes text on, holding back just what could still become a stop word.

    Attributes:
        found: the stop word that ended the text; None so far.
    """

    def __init__(self, stop_words: Sequence[str]) -> None:
        self.found: str | None = None
        self._words = tuple(stop_words)
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of the text that is safe to show; after a stop word, nothing."""
        if self.found is not None:
            return ""
        text = self._held + text
        starts = [(start, word) for word in self._words if (start := text.find(word)) >= 0]
        if starts:
            start, self.found = min(starts)
            self._held = ""
            return text[:start]
        keep = self._num_held_back(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back: the text ended, so it was no stop word."""
        held, self._held = self._held, ""
        return held

    def _num_held_back(self, text: str) -> int:
        longest = max((len(word) for word in self._words), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(word.startswith(text[-length:]) for word in self._words):
                return length
        return 0
