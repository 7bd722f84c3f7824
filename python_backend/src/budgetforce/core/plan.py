# SPDX-License-Identifier: Apache-2.0
"""Everything the core must know about one reply before it starts, as ids and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core.budget import Budget, BudgetRule


class ThinkingMode(str, Enum):
    """Who opens the thought."""

    FORCED = "forced"  # we do: prefilled and budgeted
    FREE = "free"  # the model, if it wants to; we report what it does
    OFF = "off"  # nobody: straight to the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcingPlan:
    """A request after tokenisation.

    Attributes:
        mode: who opens the thought.
        prompt_ids: the rendered chat and, if forced, the thinking-start marker.
        thinking_prefix_ids: first words of the thought, injected if the budget holds them and one id more.
        thinking_terminators: ids that end thinking; never empty.
        answer_terminators: ids that end the answer; never empty.
        max_thinking_tokens: cap of the thought, counted by ``budget_rule``; 0 = answer at once.
        min_thinking_tokens: floor: an end before it is refused, as often as needed.
        num_ignore: how many ends of thinking to refuse while the budget allows.
        ignore_ids: put in place of refused ends, in turn ("Wait"); an empty one only refuses.
        grace_tokens: how many ids a cut may wait for a line or sentence end.
        boundary_ids: ids whose text ends a line or a sentence.
        max_answer_tokens: cap of the answer, >= 1; unless forced, of all that is sampled.
        max_context_tokens: prompt and reply together; the answer is also cut there.
        answer_ids: opens the answer after a natural end.
        cut_answer_ids: opens it after a cut.
        answer_prefix_ids: starts the answer for the model ("Final Answer:"), shown as injected.
        prefix_after_natural_end: put the prefix after a natural end, too.
        line_break_ids: put before ``cut_answer_ids`` unless the text ends in a line break.
        line_break_bearing: every id whose text ends in a line break (2178 of them in Qwen2.5's vocabulary).
        fragments: the bytes of ids that hold no whole characters; empty = a cut may split a character.
        num_token_ids: ids from here on are rows of the embedding without a token: dropped when sampled.
        thinking_marker_ids: how the model itself opens a thought.
        answer_marker_ids: how it opens the answer.
        leave_answer_to_model: put no marker behind the thought; watch for the model's own.
        reencode_from: at every seam, turn the context from this index on into text and back; None = never.

    Raises ValueError when built from counts that make no sense.
    """

    prompt_ids: tuple[int, ...]
    thinking_terminators: frozenset[int]
    answer_terminators: frozenset[int]
    max_thinking_tokens: int
    max_answer_tokens: int
    max_context_tokens: int
    mode: ThinkingMode = ThinkingMode.FORCED
    budget_rule: BudgetRule = BudgetRule.EXACT
    min_thinking_tokens: int = 0
    num_ignore: int = 0
    ignore_ids: tuple[tuple[int, ...], ...] = ((),)
    grace_tokens: int = 0
    boundary_ids: frozenset[int] = frozenset()
    answer_ids: tuple[int, ...] = ()
    cut_answer_ids: tuple[int, ...] = ()
    thinking_prefix_ids: tuple[int, ...] = ()
    answer_prefix_ids: tuple[int, ...] = ()
    prefix_after_natural_end: bool = False
    line_break_ids: tuple[int, ...] = ()
    line_break_bearing: frozenset[int] = frozenset()
    fragments: Mapping[int, bytes] = field(default_factory=dict)
    num_token_ids: int = 1 << 31
    thinking_marker_ids: tuple[int, ...] = ()
    answer_marker_ids: tuple[int, ...] = ()
    leave_answer_to_model: bool = False
    reencode_from: int | None = None

    def __post_init__(self) -> None:
        if not (self.prompt_ids and self.ignore_ids):
            raise ValueError("prompt_ids or ignore_ids is empty")
        if not (self.thinking_terminators and self.answer_terminators):
            raise ValueError("a set of terminators is empty: a round could never end by itself")
        if min(self.min_thinking_tokens, self.num_ignore, self.grace_tokens, self.max_answer_tokens - 1) < 0:
            raise ValueError(f"counts out of range: {self}")
        if self.min_thinking_tokens > self.max_thinking_tokens:
            raise ValueError(f"counts out of range: {self.min_thinking_tokens=} > {self.max_thinking_tokens=}")
        if self.longest_before_answer >= self.max_context_tokens:
            raise ValueError(f"no room for an answer: {self.longest_before_answer} of {self.max_context_tokens} tokens may go before it")

    @property
    def holds_thinking_prefix(self) -> bool:
        """Whether the budget has room for the first words of the thought and one id more; else they are left out."""
        return Budget(self.max_thinking_tokens, self.budget_rule).has_room_for(self.thinking_prefix_ids)

    @property
    def longest_before_answer(self) -> int:
        """The most ids that the context can hold when the answer begins (but for what re-encoding changes)."""
        return len(self.prompt_ids) + self.max_thinking_tokens + self.grace_tokens + self.num_uncounted_tokens

    @property
    def num_uncounted_tokens(self) -> int:
        """The most ids that can be injected without being counted against the budget."""
        free_strings = self.num_ignore * max(map(len, self.ignore_ids)) if self.budget_rule is BudgetRule.SAMPLED else 0
        marker = max(len(self.answer_ids), len(self.line_break_ids) + len(self.cut_answer_ids))
        return free_strings + marker + len(self.answer_prefix_ids)
