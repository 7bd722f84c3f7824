# SPDX-License-Identifier: Apache-2.0
"""Finds stop words in streamed text, across any cut, and shows no part of them.

The first word to end in the text counts; if several end at the same place, the longest. The result
therefore does not depend on how the text is cut into pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopWords:
    """Automaton that matches many words at once (Aho and Corasick, 1975); its speed does not depend on their number.

    A state is the longest suffix of the text so far that is a prefix of a word. State 0 is the empty suffix.

    Attributes:
        words: the words, none of them empty.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = tuple(words)
        self._next: dict[tuple[int, str], int] = {}
        self._lengths = [0]  # by state: length of its suffix
        self._shorter = [0]  # by state: the state of its longest proper suffix that is a prefix of a word
        self._found = [0]  # by state: length of the longest word that ends there; 0 = none
        for word in self.words:
            self._add(word)
        self._link()

    def __bool__(self) -> bool:
        return bool(self.words)

    def step(self, state: int, character: str) -> int:
        """Return the state after another character."""
        while state and (state, character) not in self._next:
            state = self._shorter[state]
        return self._next.get((state, character), 0)

    def found_at(self, state: int) -> int:
        """Return the length of the longest word that ends in this state, 0 if none does."""
        return self._found[state]

    def begun_at(self, state: int) -> int:
        """Return the length of this state's suffix: the longest beginning of a word."""
        return self._lengths[state]

    def _add(self, word: str) -> None:
        state = 0
        for character in word:
            following = self._next.setdefault((state, character), len(self._lengths))
            if following == len(self._lengths):
                self._lengths.append(self._lengths[state] + 1)
                self._shorter.append(0)
                self._found.append(0)
            state = following
        self._found[state] = len(word)

    def _link(self) -> None:
        """Compute the fallback of each state, shorter states first."""
        children: dict[int, list[tuple[str, int]]] = {}
        for (state, character), following in self._next.items():
            children.setdefault(state, []).append((character, following))
        waiting = deque([0])
        while waiting:
            state = waiting.popleft()
            for character, following in children.get(state, ()):
                if state:
                    self._shorter[following] = self.step(self._shorter[state], character)
                self._found[following] = self._found[following] or self._found[self._shorter[following]]
                waiting.append(following)


class StopWordFilter:
    """Passes text through, holding back only text that could still become a stop word.

    Attributes:
        found: the stop word that ended the text; None until one is found.
    """

    def __init__(self, stop_words: StopWords) -> None:
        self.found: str | None = None
        self._words = stop_words
        self._state = 0
        self._held = ""

    def feed(self, text: str, *, is_injected: bool = False) -> str:
        """Return the text that is safe to show; after a stop word, nothing. A stop word may begin in injected text, but not end there."""
        if not self._words.words:
            return text
        if self.found is not None:
            return ""
        whole = self._held + text
        for end, character in enumerate(text, start=len(self._held) + 1):
            self._state = self._words.step(self._state, character)
            if not is_injected and (length := self._words.found_at(self._state)):
                self.found, self._held = whole[end - length : end], ""
                return whole[: end - length]
        shown = len(whole) - self._words.begun_at(self._state)
        self._held = whole[shown:]
        return whole[:shown]

    def flush(self) -> str:
        """End the text: return the text held back, which is no stop word."""
        held, self._held, self._state = self._held, "", 0
        return held

    @property
    def num_held(self) -> int:
        """Return how many characters are held back."""
        return len(self._held)
