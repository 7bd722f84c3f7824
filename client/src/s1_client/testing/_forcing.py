# SPDX-License-Identifier: Apache-2.0
"""Budget forcing on words: turns the script of a model into a reply's events. No connection, no clock.

A small copy of the real server's semantics; tests that run against both compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from s1_client._errors import S1Error
from s1_client._fields import FIELDS
from s1_client._types import (
    AnswerDelta,
    AnswerOpened,
    Done,
    Event,
    Injected,
    Result,
    Round,
    RoundEnded,
    ThinkingDelta,
    Usage,
)

THINKING, ANSWER = "I think", "so."  # defaults of a script
TERMINATOR, MARKER = 2, 1
MAX_CONTEXT_TOKENS = 32768
EFFORTS = {"minimal": 512, "low": 2000, "medium": 8000, "high": 16000, "xhigh": 32000, "max": -1}  # as preset s1
_EFFECTIVE = {"thinking_prefix": "", "max_context_tokens": MAX_CONTEXT_TOKENS, "num_masked_ids": 0, "engine_model": "fake"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The model's reply to a request.

    Attributes:
        thinking: the thinking, up to the end that the model wants; a tuple: up to each end, the last text for all further ends.
        answer: the answer.
        start_delay_s: seconds before the request counts as running.
        token_delay_s: seconds before each token.
        error: the error that the request fails with.
        error_after: number of events before the error.

    Raises TypeError or ValueError for a script that no model could follow; the message names the parameter.
    """

    thinking: str | tuple[str, ...] = THINKING
    answer: str = ANSWER
    start_delay_s: float = 0.0
    token_delay_s: float = 0.0
    error: S1Error | None = None
    error_after: int = 0

    def __post_init__(self) -> None:
        thoughts = (self.thinking,) if isinstance(self.thinking, str) else self.thinking
        if not isinstance(thoughts, tuple) or not thoughts or not all(isinstance(text, str) for text in thoughts):
            raise TypeError(f"thinking: got {self.thinking!r}, allowed: a text, or a tuple of at least one")
        if not isinstance(self.answer, str):
            raise TypeError(f"answer: got {self.answer!r}, allowed: a text")
        if not isinstance(self.error, S1Error | None):
            raise TypeError(f"error: got {self.error!r}, allowed: an S1Error")
        for name in ("start_delay_s", "token_delay_s", "error_after"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, allowed: {name} >= 0")


class Vocabulary:
    """The tokens: words with the white space before them, each with an id of its own."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def tokens(self, text: str) -> list[tuple[str, int]]:
        """Return the words of a text with their ids."""
        words = re.findall(r"\s*\S+|\s+$", text)
        return [(word, self._ids.setdefault(word, len(self._ids) + 10)) for word in words]


@dataclass(slots=True, kw_only=True)
class Sample:
    """A sample of a request.

    Attributes:
        pause: called before each token of a phase: waits, and returns "answer_now" or "deadline" if that cuts the phase
            short, else None.
    """

    request_id: str
    index: int
    script: Script
    options: Mapping[str, Any]
    vocabulary: Vocabulary
    num_prompt_tokens: int
    pause: Callable[[str], str | None]
    _thought: int = 0
    _num_sent_in: int = 0
    _usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Usage.__dataclass_fields__, 0))
    _rounds: list[Round] = field(default_factory=list)

    def events(self) -> Iterator[Event]:
        """Yield all events of the sample, in order."""
        thinking_end = yield from self._think()
        answer_end = yield from self._answer(cut=thinking_end not in ("natural", "skipped", "off"))
        self._usage["num_prompt_tokens"] = self.num_prompt_tokens
        self._usage["num_thinking_tokens"] = self._usage["num_thinking_sampled"] + self._usage["num_thinking_injected"]
        result = Result(
            request_id=self.request_id,
            thinking_end=thinking_end,
            answer_end=answer_end,
            usage=Usage(**self._usage),
            rounds=tuple(self._rounds),
            effective=self._effective(),
            total_ms=1.0,
            engine_time_to_first_token_ms=0.0,
        )
        yield Done(result=result, index=self.index)

    @property
    def _budget(self) -> int:
        effort = self._option("reasoning_effort")
        cap = self._option("max_thinking_tokens") if effort is None else EFFORTS[effort]
        budget = MAX_CONTEXT_TOKENS // 2 if cap == -1 else int(cap)
        total = self._option("max_total_tokens")
        return budget if total is None else min(budget, total - 1)

    def _option(self, name: str) -> Any:
        row = FIELDS[name]
        return self._option(row.default_of) if row.default_of and name not in self.options else self.options.get(name, row.default)

    def _effective(self) -> dict[str, Any]:
        """Return every key of the real server's report, with the values that were applied here."""
        values = {name: self._option(name) for name in FIELDS}
        return {**values, "max_thinking_tokens": self._budget, **_EFFECTIVE}

    def _thought_of_round(self) -> str:
        thinking = self.script.thinking
        rounds = (thinking,) if isinstance(thinking, str) else thinking
        return rounds[min(self._usage["num_ignored"], len(rounds) - 1)]

    # --- thinking ---------------------------------------------------------------------------

    def _think(self) -> Generator[Event, None, str]:
        if self._option("thinking") == "off":
            return "off"
        if self._budget == 0:
            return "skipped"
        while True:
            ended_by = yield from self._round("thinking", self._thought_of_round(), self._budget - self._thought)
            refused_for, string = self._refusal() if ended_by == "terminator" else (None, "")
            injected = self.vocabulary.tokens(string) if refused_for else []
            yield self._end_round("thinking", ended_by, refused_for, injected)
            if not refused_for:
                return "natural" if ended_by == "terminator" else ended_by
            self._usage["num_ignored"] += 1
            yield from self._inject("thinking", injected)

    def _refusal(self) -> tuple[str | None, str]:
        strings = self._option("ignore_str")
        string = strings[self._usage["num_ignored"] % len(strings)]
        fits = self._thought + len(self.vocabulary.tokens(string)) < self._budget
        if self._usage["num_ignored"] < self._option("num_ignore") and fits:
            return "num_ignore", string
        if self._thought < self._option("min_thinking_tokens"):
            return "min_thinking_tokens", string if fits else ""
        return None, ""

    # --- the answer -------------------------------------------------------------------------

    def _answer(self, *, cut: bool) -> Generator[Event, None, str]:
        yield AnswerOpened(ids=(MARKER,), index=self.index)
        self._usage["num_answer_injected"] += 1
        self._usage["num_output_ids"] += 1
        policy = self._option("answer_prefix_policy")
        if policy == "always" or (policy == "auto" and cut):
            yield from self._inject("answer", self.vocabulary.tokens(self._option("answer_prefix")))
        room, total = self._option("max_tokens"), self._option("max_total_tokens")
        if total is not None:
            room = min(room, total - self._thought)
        ended_by = yield from self._round("answer", self.script.answer, room)
        yield self._end_round("answer", ended_by, None, [])
        if ended_by == "terminator":
            return "stop" if self._usage["num_answer_tokens"] else "empty"
        return "length" if ended_by == "budget" else ended_by

    # --- rounds -----------------------------------------------------------------------------

    def _round(self, phase: str, text: str, room: int) -> Generator[Event, None, str]:
        self._num_sent_in = self.num_prompt_tokens + self._usage["num_output_ids"]
        kind = ThinkingDelta if phase == "thinking" else AnswerDelta
        for number, (word, token_id) in enumerate(self.vocabulary.tokens(text)):
            if number == room:
                return "budget"
            cut = self.pause(phase)
            if cut is not None:
                return cut
            self._count(phase, "num_thinking_sampled" if phase == "thinking" else "num_answer_tokens", 1)
            yield kind(text=word, ids=(token_id,), index=self.index)
        self._usage["num_terminators"] += 1
        return "terminator"

    def _inject(self, phase: str, tokens: list[tuple[str, int]]) -> Iterator[Event]:
        self._count(phase, f"num_{phase}_injected", len(tokens))
        if tokens:
            text, ids = "".join(word for word, _ in tokens), tuple(token_id for _, token_id in tokens)
            yield Injected(phase=phase, text=text, ids=ids, index=self.index)

    def _count(self, phase: str, entry: str, number: int) -> None:
        self._usage[entry] += number
        self._usage["num_output_ids"] += number
        self._thought += number if phase == "thinking" else 0

    def _end_round(self, phase: str, ended_by: str, refused_for: str | None, injected: list[tuple[str, int]]) -> RoundEnded:
        is_over = ended_by == "terminator"
        num_sampled = self._usage["num_thinking_sampled"] + self._usage["num_answer_tokens"] + self._usage["num_terminators"]
        round_ = Round(
            phase=phase,
            num_prompt_tokens=self._num_sent_in,
            num_sampled_tokens=num_sampled - sum(earlier.num_sampled_tokens for earlier in self._rounds),
            num_dropped_tokens=0,
            num_redone=0,
            ended_by="length" if (phase, ended_by) == ("answer", "budget") else ended_by,
            terminator_id=TERMINATOR if is_over else None,
            refused_for=refused_for,
            injected_ids=[token_id for _, token_id in injected],
            num_engine_calls=1,
            num_outages=0,
            kv_reused_blocks=None,
            gap_ms=0.0,
            first_token_ms=0.0,
            engine_ms=0.0,
        )
        self._rounds.append(round_)
        return RoundEnded(round=round_, index=self.index)


def result_json(result: Result, index: int) -> dict[str, Any]:
    """Return the JSON of the ``result`` tensor for a sample's report."""
    return {
        "request_id": result.request_id,
        "index": index,
        "finish_reason": {"thinking": result.thinking_end, "answer": result.answer_end},
        "stop_word": result.stop_word,
        "usage": asdict(result.usage),
        "rounds": [asdict(entry) for entry in result.rounds],
        "effective": result.effective,
        "training": None if result.training is None else asdict(result.training),
        "engine_time_to_first_token_ms": result.engine_time_to_first_token_ms,
        "total_ms": result.total_ms,
    }
