# SPDX-License-Identifier: Apache-2.0
"""The work that peers.py gives to all contestants, and how it is counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budgetforce.presets import Preset
from budgetforce.text.tokenizer import ChatTokenizer
from s1_client import Result

NUM_IGNORE, END_AFTER, ANSWER_IDS = 2, 32, 16
QUESTION = "Write a story about ship number {} and its crew"
KV_BLOCK = 32  # ids, of OpenVINO on a CPU


@dataclass(frozen=True, slots=True)
class Round:
    """An engine call, and what is put in behind it; ``drops_last``: the last id is an end, which is refused or consumed."""

    num_ids: int
    drops_last: bool = False
    injected: tuple[int, ...] = ()


def as_json(rounds: Sequence[Round]) -> list[list[Any]]:
    """As library_loops.py and serial_bls take them."""
    return [[one.num_ids, one.drops_last, list(one.injected)] for one in rounds]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question, and the ids that a thought about it begins with."""

    question: str
    ids: tuple[int, ...] = ()


@dataclass(slots=True)
class Timed:
    """One reply, with what who asked counted himself."""

    seconds: float = 0.0
    first_token_s: float | None = None
    num_sampled: int = 0


@dataclass(slots=True, kw_only=True)
class Counts:
    """Ids of a batch. ``num_recomputed``: of later calls' prompts, what an earlier call of the same reply had computed."""

    num_sampled: int
    num_injected: int
    num_recomputed: int | None = None


@dataclass(slots=True)
class Batch:
    """What came of prompts that were asked all at once."""

    wall_s: float
    replies: list[Timed]
    counts: Counts


class FixedWork:
    """Replies of the same calls for all; the engine of the contestants behind Triton is fixed_rounds."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        thinking, answer = Preset.load("smollm2").thinking, Preset.load("smollm2").answer
        prefix, wait = tokenizer.encode(thinking.prefix), tokenizer.encode(thinking.ignore_str[0])
        opening = tokenizer.encode_marker("\n") + tokenizer.encode_marker(answer.cut_start) + tokenizer.encode(answer.prefix)
        self._tokenizer, self._start = tokenizer, tokenizer.encode_marker(thinking.start) + prefix
        self.rounds = (*[Round(END_AFTER, True, wait)] * NUM_IGNORE, Round(END_AFTER, False, opening), Round(ANSWER_IDS))
        budget = len(prefix) + sum(one.num_ids - one.drops_last for one in self.rounds[:-1]) + NUM_IGNORE * len(wait)
        self.options = {"max_thinking_tokens": budget, "num_ignore": NUM_IGNORE, "max_tokens": ANSWER_IDS}
        self.told = {"question": QUESTION, **self.options, "calls": [one.num_ids for one in self.rounds]}

    def prompts(self, numbers: Iterable[int]) -> list[Prompt]:
        return [self._prompt(QUESTION.format(number)) for number in numbers]

    def _prompt(self, question: str) -> Prompt:
        return Prompt(question, self._tokenizer.encode_chat([{"role": "user", "content": question}]) + self._start)

    def text_of(self, prompt: Prompt) -> str:
        """What encodes to the prompt's ids."""
        return self._tokenizer.decode(prompt.ids)

    def calls_of(self, prompt: Prompt) -> tuple[tuple[int, ...], tuple[Round, ...]]:
        """The ids of the first call, and all calls."""
        return prompt.ids, self.rounds

    def check(self, prompts: Sequence[Prompt], counts: Counts) -> None:
        """Raises ValueError unless it was this work."""
        num_sampled = len(prompts) * sum(one.num_ids for one in self.rounds)
        num_injected = len(prompts) * sum(len(one.injected) for one in self.rounds)
        if counts.num_sampled != num_sampled or not num_injected - len(prompts) <= counts.num_injected <= num_injected:
            raise ValueError(f"not {num_sampled} ids sampled and {num_injected} put in (or one less a reply), but {counts}")


@dataclass(slots=True)
class ReplayedWork:
    """Replies as long as those of ``s1`` on a server whose model decides: the others repeat its calls, with ids made up.

    Attributes:
        options: of the requests to ``s1``.
    """

    options: dict[str, int]
    _calls: dict[str, tuple[tuple[int, ...], tuple[Round, ...]]] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        return {"question": QUESTION, **self.options}

    def prompts(self, numbers: Iterable[int]) -> list[Prompt]:
        return [Prompt(QUESTION.format(number)) for number in numbers]

    def note(self, prompt: Prompt, result: Result) -> None:
        """What ``s1`` did."""
        rounds = result.rounds
        kept = [one.num_sampled_tokens - (one.terminator_id is not None) for one in rounds]
        lengths = [one.num_prompt_tokens for one in rounds]
        num_injected = [after - before - num for before, after, num in zip(lengths, lengths[1:], kept, strict=False)] + [0]
        calls = (
            Round(one.num_sampled_tokens, one.terminator_id is not None, made_up(number, prompt))
            for one, number in zip(rounds, num_injected, strict=True)
        )
        self._calls[prompt.question] = made_up(lengths[0], prompt), tuple(calls)

    def calls_of(self, prompt: Prompt) -> tuple[tuple[int, ...], tuple[Round, ...]]:
        return self._calls[prompt.question]

    def counts(self, prompts: Sequence[Prompt], replies: Sequence[Timed]) -> Counts:
        """Of those who count themselves."""
        calls = [one for prompt in prompts for one in self.calls_of(prompt)[1]]
        return Counts(num_sampled=sum(reply.num_sampled for reply in replies), num_injected=sum(len(one.injected) for one in calls))

    def check(self, prompts: Sequence[Prompt], counts: Counts) -> None:
        num_sampled = sum(one.num_ids for prompt in prompts for one in self.calls_of(prompt)[1])
        if counts.num_sampled != num_sampled:
            raise ValueError(f"not {num_sampled} ids sampled, as by s1, but {counts}")


def made_up(num_ids: int, prompt: Prompt) -> tuple[int, ...]:
    """Ordinary ids of any vocabulary, for each prompt other ones from the first on: no cache holds them."""
    first = 7 * int("".join(filter(str.isdigit, prompt.question)))
    return tuple(300 + (first + number) % 20000 for number in range(num_ids))


# --- counting by the engine -----------------------------------------------------------------


@dataclass(slots=True)
class CallsLog:
    """What fixed_rounds notes of an engine's calls."""

    path: Path
    rounds: Sequence[Round]
    _num_read: int = 0

    def counts(self, prompts: Sequence[Prompt], _: Sequence[Timed]) -> Counts:
        """Of what came since the last time. Raises ValueError if the first calls did not have the prompts' lengths."""
        text = self.path.read_text()
        calls = [json.loads(line) for line in text[self._num_read :].splitlines()]
        self._num_read = len(text)
        return count_calls([call for call in calls if call["num_prompt_ids"] > 1], prompts, self.rounds)  # of 1: s1's canary


def count_calls(calls: Sequence[dict[str, int]], prompts: Sequence[Prompt], rounds: Sequence[Round]) -> Counts:
    """Of a batch's calls the shortest are the first ones, which must have the prompts' lengths, and the longest the answers."""
    calls = sorted(calls, key=lambda call: call["num_prompt_ids"])
    wanted = sorted(len(prompt.ids) for prompt in prompts)
    lengths = [call["num_prompt_ids"] for call in calls]
    if lengths[: len(prompts)] != wanted:
        raise ValueError(f"prompts of {wanted} ids came as {lengths[: len(prompts)]}")
    num_kept = sum(one.num_ids - one.drops_last for one in rounds[:-1])
    num_injected = sum(lengths[-len(prompts) :]) - sum(wanted) - num_kept * len(prompts)
    num_computed = sum(call["num_prompt_ids"] - KV_BLOCK * call["num_reused_blocks"] for call in calls[len(prompts) :])
    num_sampled = sum(call["num_sampled"] for call in calls)
    return Counts(num_sampled=num_sampled, num_injected=num_injected, num_recomputed=num_computed - num_injected)
