# SPDX-License-Identifier: Apache-2.0
"""Where every id of a reply went, and why each phase ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core.states import Phase


class RoundEnd(str, Enum):
    """Why one engine round stopped."""

    TERMINATOR = "terminator"
    MARKER = "marker"  # not forced: an id that may open a phase
    BUDGET = "budget"  # the thinking budget was spent
    BOUNDARY = "boundary"  # in grace: a line or sentence was finished
    GRACE = "grace"  # in grace: none was, within grace_tokens
    LENGTH = "length"  # the answer's cap, or the context's end
    STOP_WORD = "stop_word"
    ANSWER_NOW = "answer_now"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


class RefusedFor(str, Enum):
    """What had an end of thinking refused."""

    NUM_IGNORE = "num_ignore"
    FLOOR = "min_thinking_tokens"


class ThinkingEnd(str, Enum):
    """Why thinking ended."""

    NATURAL = "natural"  # a terminator that was accepted, or the model's own answer marker
    BUDGET = "budget"  # cut: the budget (and the grace, if any) was spent
    ANSWER_NOW = "answer_now"  # cut: the caller asked
    DEADLINE = "deadline"  # cut: what time was left was the answer's
    SKIPPED = "skipped"  # a budget of 0
    OFF = "off"  # thinking was switched off
    ABSENT = "absent"  # not forced, and the model opened none
    LENGTH = "length"  # not forced, and cut by max_tokens
    CANCELLED = "cancelled"


class AnswerEnd(str, Enum):
    """Why the answer ended."""

    STOP = "stop"  # a terminator
    STOP_WORD = "stop_word"  # one of the caller's
    LENGTH = "length"  # cut: max_tokens were sampled, or the context is full
    DEADLINE = "deadline"  # cut: the time was up
    EMPTY = "empty"  # a terminator before any other id
    MISSING = "missing"  # not forced, and the model never opened one
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class RoundRecord:
    """One engine round.

    Attributes:
        num_prompt_tokens: ids sent in.
        num_sampled_tokens: ids that came back, consumed terminator and dropped ids included.
        num_dropped_tokens: of those, kept out of text and context.
        ended_by: why it stopped; None while it runs.
        terminator_id: the consumed terminator, if one ended it.
        refused_for: why that terminator was refused, if it was.
        injected_ids: what we put behind it.
        in_grace: it ran beyond the budget, to the end of a line or sentence.
    """

    phase: Phase
    num_prompt_tokens: int
    num_sampled_tokens: int = 0
    num_dropped_tokens: int = 0
    ended_by: RoundEnd | None = None
    terminator_id: int | None = None
    refused_for: RefusedFor | None = None
    injected_ids: list[int] = field(default_factory=list)
    in_grace: bool = False

    @property
    def num_kept_tokens(self) -> int:
        """Ids that went into the context."""
        return self.num_sampled_tokens - self.num_dropped_tokens - (self.terminator_id is not None)


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Counts of ids. Two laws hold at every moment (``check``):

    * sampled by the engine == thinking_sampled + answer_sampled + terminators + dropped;
    * context == prompt + thinking_sampled + thinking_injected + answer_injected + answer_sampled + reencoded.

    Attributes:
        dropped: sampled and kept out of text and context: ids that are no tokens, half
            characters at a cut, and what an evaluation preset cuts off afterwards.
        reencoded: by how many ids re-encoding changed the context's length; 0 for most presets.
        num_ignored: refused ends.
    """

    prompt: int
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
        """Ids of the thought: sampled and injected, without consumed terminators."""
        return self.thinking_sampled + self.thinking_injected

    @property
    def grace(self) -> int:
        """Of thinking_sampled, those beyond the budget."""
        return sum(record.num_kept_tokens for record in self.rounds if record.in_grace)

    @property
    def reply(self) -> int:
        """All that was put behind the prompt."""
        return self.thinking + self.answer_injected + self.answer_sampled

    def check(self, context_len: int) -> None:
        """Raise AssertionError if the laws do not hold for a context of ``context_len`` ids: a bug of ours."""
        sampled = sum(record.num_sampled_tokens for record in self.rounds)
        if sampled != self.thinking_sampled + self.answer_sampled + self.terminators + self.dropped:
            raise AssertionError(f"ledger: the engine sampled {sampled} ids, the phases hold {self}")
        if context_len != self.prompt + self.reply + self.reencoded:
            raise AssertionError(f"ledger: the context has {context_len} ids, the phases hold {self}")
