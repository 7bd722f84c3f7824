# SPDX-License-Identifier: Apache-2.0
"""Recognises, id by id, which phase a model opens that is left to itself."""

from __future__ import annotations

from budgetforce.core.states import Phase


class MarkerMatcher:
    """A thought can only be opened by the very first ids; the answer by the first ids or out of a thought.

    Attributes:
        phase: the phase that the next id of text belongs to.
        answer_opened: the answer's marker has been seen.
    """

    def __init__(self, thinking: tuple[int, ...], answer: tuple[int, ...]) -> None:
        self.phase = Phase.ANSWER
        self.answer_opened = False
        self._markers = {Phase.THINKING: thinking, Phase.ANSWER: answer}
        self._at_start = True
        self._seen: tuple[int, ...] = ()

    @property
    def is_midway(self) -> bool:
        """The last ids begin a marker and do not complete one."""
        return bool(self._seen)

    @property
    def first_ids(self) -> frozenset[int]:
        """What a marker that may come now begins with."""
        return frozenset(marker[0] for marker in self._possible().values() if marker)

    def match(self, token_id: int) -> bool:
        """Whether the id goes on with a marker; if not, what was seen of one is text."""
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
