# SPDX-License-Identifier: Apache-2.0
"""Random concurrent calls with shared prefixes. The model is ``copying_model``, so the right ids are known."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from copying_model import NUM_IDS, OFFSET, next_ids

from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.token_engine import TokenCall

MAX_LIVE = 8


def random_ids(draw: random.Random, num_ids: int) -> tuple[int, ...]:
    return tuple(draw.randrange(NUM_IDS) for _ in range(num_ids))


def run(engine: EmbeddedEngine, *prompts: tuple[int, ...], num_ids: int = OFFSET + 5) -> list[list[int]]:
    """Submit all prompts at once; return the ids of each call."""
    said: dict[int, list[int]] = {}
    for prompt in prompts:
        said[engine.submit(TokenCall(input_ids=prompt, max_new_tokens=num_ids))[0]] = []
    while engine.has_work():
        for progress in engine.step():
            assert progress.error is None
            said[progress.key] += progress.ids
    return list(said.values())


@dataclass
class _Call:
    """A running call; it is cancelled after ``patience`` ids."""

    prompt: tuple[int, ...]
    patience: int
    said: list[int] = field(default_factory=list)


@dataclass
class RandomCalls:
    """Submits calls at random moments, most of which continue from the end of an earlier call, and cancels a few.

    Attributes:
        wrong: prompt length and position of the first wrong id of each wrong call.
    """

    engine: EmbeddedEngine
    draw: random.Random
    max_len: int = 400
    num_over: int = 0
    wrong: list[tuple[int, int]] = field(default_factory=list)
    _texts: list[tuple[int, ...]] = field(default_factory=list)
    _live: dict[int, _Call] = field(default_factory=dict)

    def run(self, num_calls: int) -> None:
        while num_calls or self._live:
            while num_calls and len(self._live) < MAX_LIVE and self.draw.random() < 0.8:
                self._submit()
                num_calls -= 1
            self._step()

    def _submit(self) -> None:
        prompt, num_ids = self._prompt(), self.draw.choice((1, 2, 5, 16, OFFSET + 5))
        key, _ = self.engine.submit(TokenCall(input_ids=prompt, max_new_tokens=num_ids))
        self._live[key] = _Call(prompt, patience=self.draw.randrange(1, 2 + num_ids) if self.draw.random() < 0.1 else 1000)

    def _prompt(self) -> tuple[int, ...]:
        if not self._texts or self.draw.random() < 0.1:
            return random_ids(self.draw, self.draw.randrange(OFFSET + 1, 120))
        text = self.draw.choice(self._texts[-6:])[: self.max_len]
        if self.draw.random() < 0.2:
            text = text[: self.draw.randrange(OFFSET + 1, len(text) + 1)]
        return text + random_ids(self.draw, self.draw.randrange(30))

    def _step(self) -> None:
        for progress in self.engine.step():
            assert progress.error is None
            call = self._live[progress.key]
            call.said.extend(progress.ids)
            if progress.finished:
                self._end(progress.key)
            elif len(call.said) >= call.patience:
                self.engine.cancel(progress.key)
                self._end(progress.key)

    def _end(self, key: int) -> None:
        call = self._live.pop(key)
        self.num_over += 1
        expected = next_ids(call.prompt, len(call.said))
        if call.said != expected:
            first = next(n for n, pair in enumerate(zip(call.said, expected, strict=True)) if pair[0] != pair[1])
            self.wrong.append((len(call.prompt), first))
        self._texts += [call.prompt, (*call.prompt, *expected)[: -1 if self.draw.random() < 0.5 else None]]
