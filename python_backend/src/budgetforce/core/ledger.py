# SPDX-License-Identifier: Apache-2.0
"""Where every id of a reply went, and why each phase ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core.states import Phase


class RoundEnd(str, Enum):
    """Why one engine round stopped."""

    TERMINATOR = "terminator"
    LENGTH = "length"
    STOP_WORD = "stop_word"
    CANCELLED = "cancelled"


class ThinkingEnd(str, Enum):
    """Why thinking ended."""

    NATURAL = "natural"  # a terminator that was accepted
    BUDGET = "budget"  # cut: the budget was spent
    SKIPPED = "skipped"  # a budget of 0
    CANCELLED = "cancelled"


class AnswerEnd(str, Enum):
    """Why the answer ended."""

    STOP = "stop"  # a terminator
    STOP_WORD = "stop_word"  # one of the caller's
    LENGTH = "length"  # cut: max_tokens were sampled
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class RoundRecord:
    """One engine round.

    Attributes:
        num_prompt_tokens: ids sent in.
        num_sampled_tokens: ids that came back, consumed terminator included.
        ended_by: why it stopped; None while it runs.
        terminator_id: the consumed terminator, if one ended it.
        num_injected_tokens: ids that we put behind it.
    """

    phase: Phase
    num_prompt_tokens: int
    num_sampled_tokens: int = 0
    ended_by: RoundEnd | None = None
    terminator_id: int | None = None
    num_injected_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Counts of ids. Two laws hold at every moment (``check``):

    * sampled by the engine == thinking_sampled + answer_sampled + terminators;
    * context == prompt + thinking_sampled + thinking_injected + answer_injected + answer_sampled.
    """

    prompt: int
    thinking_sampled: int = 0
    thinking_injected: int = 0
    answer_sampled: int = 0
    answer_injected: int = 0
    terminators: int = 0
    num_ignored: int = 0
    thinking_end: ThinkingEnd | None = None
    answer_end: AnswerEnd | None = None
    rounds: list[RoundRecord] = field(default_factory=list)

    @property
    def thinking(self) -> int:
        """What counts against the budget: sampled and injected, without consumed terminators."""
        return self.thinking_sampled + self.thinking_injected

    @property
    def context(self) -> int:
        return self.prompt + self.thinking + self.answer_injected + self.answer_sampled

    def check(self, context_len: int) -> None:
        """Raise AssertionError if the laws do not hold for a context of ``context_len`` ids: a bug of ours."""
        sampled = sum(record.num_sampled_tokens for record in self.rounds)
        if sampled != self.thinking_sampled + self.answer_sampled + self.terminators:
            raise AssertionError(f"ledger: the engine sampled {sampled} ids, the phases hold {self}")
        if context_len != self.context:
            raise AssertionError(f"ledger: the context has {context_len} ids, the phases hold {self}")
