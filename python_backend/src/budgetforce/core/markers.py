# SPDX-License-Identifier: Apache-2.0
"""Recognises, id by id, which phase an unforced model opens."""

from __future__ import annotations

from budgetforce.core.states import Phase


class MarkerMatcher:
    """Matches sampled ids against the markers of both phases.

    Only the very first ids can open a thought. The first ids, or any ids within a thought, can open
    the answer.

    Attributes:
        phase: the phase that the next id of text belongs to.
        answer_opened: whether the answer's marker is complete.
    """

    def __init__(self, thinking: tuple[int, ...], answer: tuple[int, ...]) -> None:
        self.phase = Phase.ANSWER
        self.answer_opened = False
        self._markers = {Phase.THINKING: thinking, Phase.ANSWER: answer}
        self._at_start = True
        self._seen: tuple[int, ...] = ()

    @property
    def is_midway(self) -> bool:
        """Return whether the last ids begin a marker without completing it."""
        return bool(self._seen)

    @property
    def first_ids(self) -> frozenset[int]:
        """Return the first id of each marker that may come now."""
        return frozenset(marker[0] for marker in self._possible().values() if marker)

    def match(self, token_id: int) -> bool:
        """Return whether the id begins or continues a marker; if not, the ids matched before it are text."""
        seen = (*self._seen, token_id)
        candidates = {phase: marker for phase, marker in self._possible().items() if marker[: len(seen)] == seen}
        if not candidates:
            self._seen, self._at_start = (), False
            return False
        self._seen = seen
        for phase, marker in candidates.items():
            if marker == seen:
                self._seen, self._at_start = (), False
                self.phase, self.answer_opened = phase, phase is Phase.ANSWER
        return True

    def _possible(self) -> dict[Phase, tuple[int, ...]]:
        if self._at_start and self.phase is Phase.ANSWER:
            return self._markers
        return {Phase.ANSWER: self._markers[Phase.ANSWER]} if self.phase is Phase.THINKING else {}
