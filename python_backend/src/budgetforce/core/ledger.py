# SPDX-License-Identifier: Apache-2.0
"""The ledger: the token account of a sample, and why each round and phase ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core.states import Phase


class RoundEnd(str, Enum):
    """Why an engine round stopped."""

    TERMINATOR = "terminator"
    MARKER = "marker"  # unforced: an id that may open a phase
    BUDGET = "budget"  # the thinking budget was spent
    BOUNDARY = "boundary"  # in grace: a line or sentence ended
    GRACE = "grace"  # in grace: no line or sentence ended within grace_tokens
    LENGTH = "length"  # the answer's cap, or a full context
    STOP_WORD = "stop_word"
    ANSWER_NOW = "answer_now"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


class RefusedFor(str, Enum):
    """Which setting refused an end of thinking."""

    NUM_IGNORE = "num_ignore"
    FLOOR = "min_thinking_tokens"


class ThinkingEnd(str, Enum):
    """Why the thinking phase ended."""

    NATURAL = "natural"  # a terminator that was accepted, or the model's own answer marker
    BUDGET = "budget"  # cut: the budget (and the grace, if any) was spent
    ANSWER_NOW = "answer_now"  # cut: the caller sent answer_now
    DEADLINE = "deadline"  # cut: the time left was reserved for the answer
    SKIPPED = "skipped"  # a budget of 0
    OFF = "off"  # thinking is switched off
    ABSENT = "absent"  # unforced, and the model opened no thought
    LENGTH = "length"  # unforced, and cut by max_tokens
    CANCELLED = "cancelled"


class AnswerEnd(str, Enum):
    """Why the answer phase ended."""

    STOP = "stop"  # a terminator
    STOP_WORD = "stop_word"  # a stop word of the caller
    LENGTH = "length"  # cut: max_tokens were sampled, or the context is full
    DEADLINE = "deadline"  # cut: the time was up
    EMPTY = "empty"  # a terminator before any other id
    MISSING = "missing"  # unforced, and the model never opened an answer
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class RoundRecord:
    """Token account of an engine round.

    Attributes:
        num_prompt_tokens: ids sent to the engine.
        num_sampled_tokens: ids that the engine sampled, consumed terminator and dropped ids included.
        num_dropped_tokens: sampled ids that entered neither text nor context.
        num_redone: ids that the engine sampled besides: terminators at the round's start, thrown away and sampled again.
        ended_by: why the round stopped; None while it runs.
        terminator_id: the consumed terminator; None if none ended the round.
        refused_for: why that terminator was refused; None if it was not.
        injected_ids: ids that the server put in after the round.
        in_grace: the round ran beyond the budget, to the end of a line or sentence.
    """

    phase: Phase
    num_prompt_tokens: int
    num_sampled_tokens: int = 0
    num_dropped_tokens: int = 0
    num_redone: int = 0
    ended_by: RoundEnd | None = None
    terminator_id: int | None = None
    refused_for: RefusedFor | None = None
    injected_ids: list[int] = field(default_factory=list)
    in_grace: bool = False

    @property
    def num_kept_tokens(self) -> int:
        """Return how many sampled ids entered the context."""
        return self.num_sampled_tokens - self.num_dropped_tokens - (self.terminator_id is not None)


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Token account of a sample. Two laws hold at every moment (``check``):

    * sampled == thinking_sampled + answer_sampled + terminators + dropped;
    * context == prompt + thinking_sampled + thinking_injected + answer_injected + answer_sampled + reencoded.

    Attributes:
        prompt: ids of the prompt.
        sampled: ids that the engine sampled, redone ids aside: the sum over the rounds.
        terminators: consumed terminators.
        dropped: sampled ids that entered neither text nor context: ids without a token, half
            characters at a cut, and ids that the evaluation preset cuts off afterwards.
        reencoded: change of the context's length by re-encoding; 0 for most presets.
        num_ignored: refused ends of thinking.
    """

    prompt: int
    sampled: int = 0
    thinking_sampled: int = 0
    thinking_injected: int = 0
    answer_sampled: int = 0
    answer_injected: int = 0
    terminators: int = 0
    dropped: int = 0
    reencoded: int = 0
    num_ignored: int = 0
    thinking_end: ThinkingEnd | None = None
    answer_end: AnswerEnd | None = None
    rounds: list[RoundRecord] = field(default_factory=list)

    @property
    def thinking(self) -> int:
        """Return the thought's length: sampled and injected ids, without consumed terminators."""
        return self.thinking_sampled + self.thinking_injected

    @property
    def grace(self) -> int:
        """Return how many of ``thinking_sampled`` came in grace, beyond the budget."""
        return sum(record.num_kept_tokens for record in self.rounds if record.in_grace)

    @property
    def redone(self) -> int:
        """Return how many ids were thrown away and sampled again; they are in no other count."""
        return sum(record.num_redone for record in self.rounds)

    @property
    def reply(self) -> int:
        """Return how many ids follow the prompt, thought and answer together."""
        return self.thinking + self.answer_injected + self.answer_sampled

    def check(self, context_len: int) -> None:
        """Raise AssertionError if a law does not hold for a context of ``context_len`` ids: a bug in the core.

        The rounds are added up only when the sample is over: a floor may refuse thousands of ends, and this is called for every id.
        """
        if self.sampled != self.thinking_sampled + self.answer_sampled + self.terminators + self.dropped:
            raise AssertionError(f"ledger: the engine sampled {self.sampled} ids, the phases hold {self}")
        if self.answer_end is not None and self.sampled != sum(record.num_sampled_tokens for record in self.rounds):
            raise AssertionError(f"ledger: the engine sampled {self.sampled} ids, the rounds hold {self}")
        in_phases = self.thinking_sampled + self.thinking_injected + self.answer_injected + self.answer_sampled
        if context_len != self.prompt + in_phases + self.reencoded:
            raise AssertionError(f"ledger: the context has {context_len} ids, the phases hold {self}")
