# SPDX-License-Identifier: Apache-2.0
"""The plan of a sample: everything that the core must know before it starts, as ids and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core.budget import Budget, BudgetRule


class ThinkingMode(str, Enum):
    """Who opens the thought: the server, the model or nobody."""

    FORCED = "forced"  # the server: prefilled and budgeted
    FREE = "free"  # the model, if it wants to; the core only reports it
    OFF = "off"  # nobody: straight to the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcingPlan:
    """A tokenised request, with all settings that the core needs.

    Attributes:
        mode: who opens the thought.
        prompt_ids: the rendered chat and, if forced, the thinking marker.
        thinking_prefix_ids: first words of the thought, injected if the budget has room for them and one more id.
        thinking_terminators: ids that end thinking; never empty.
        answer_terminators: ids that end the answer; never empty.
        max_thinking_tokens: cap of the thought in ids, counted by ``budget_rule``; 0 = answer at once.
        min_thinking_tokens: floor in ids: an earlier end is refused, as often as needed.
        num_ignore: number of ends of thinking to refuse while the budget allows.
        ignore_ids: ignore strings ("Wait"), used in turn in place of refused ends; an empty string only refuses.
        grace_tokens: maximum number of ids that a cut waits for the end of a line or sentence.
        boundary_ids: ids whose text ends a line or a sentence.
        max_answer_tokens: cap of the answer in ids, >= 1; in mode FREE, of all sampled ids.
        max_total_tokens: cap of thought and answer together in ids, the sampled answer alone being counted; more than the thought's
            own caps, so that an answer can follow. None = no such cap. Not with a ``budget_rule`` of audits, nor with mode FREE, whose
            ``max_answer_tokens`` is that cap.
        max_context_tokens: cap of prompt and reply together; a full context cuts the answer, too.
        answer_ids: marker that opens the answer after a natural end.
        cut_answer_ids: marker that opens the answer after a cut.
        answer_prefix_ids: first words of the answer ("Final Answer:"), shown as injected.
        prefix_after_natural_end: inject the prefix after a natural end, too.
        line_break_ids: injected before ``cut_answer_ids`` unless the text ends in a line break.
        line_break_bearing: every id whose text ends in a line break (2178 ids in Qwen2.5's vocabulary).
        fragments: bytes of the ids that are not whole characters; empty = a cut may split a character.
        num_token_ids: ids >= this are rows of the embedding without a token: dropped when sampled.
        thinking_marker_ids: marker with which the model itself opens a thought.
        answer_marker_ids: marker with which the model itself opens the answer.
        leave_answer_to_model: inject no marker after the thought; look for the model's own.
        reencode_from: at every seam, re-encode the context from this index on; None = never.

    Raises ValueError for contradictory counts or empty sets of ids.
    """

    prompt_ids: tuple[int, ...]
    thinking_terminators: frozenset[int]
    answer_terminators: frozenset[int]
    max_thinking_tokens: int
    max_answer_tokens: int
    max_context_tokens: int
    max_total_tokens: int | None = None
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
        if self.max_total_tokens is not None:
            self._check_total(self.max_total_tokens)
        if self.longest_before_answer >= self.max_context_tokens:
            raise ValueError(f"no room for an answer: {self.longest_before_answer} of {self.max_context_tokens} tokens may come before it")

    def _check_total(self, most: int) -> None:
        if self.budget_rule is not BudgetRule.EXACT or self.mode is ThinkingMode.FREE:
            raise ValueError(f"max_total_tokens has no meaning with {self.budget_rule} and {self.mode}")
        if self.max_thinking_tokens + self.grace_tokens >= most:
            raise ValueError(f"no room for an answer: thinking may have {self.max_thinking_tokens} + {self.grace_tokens} of {most} tokens")

    @property
    def holds_thinking_prefix(self) -> bool:
        """Return whether the budget has room for the thinking prefix and one more id; if not, the prefix is left out."""
        return Budget(self.max_thinking_tokens, self.budget_rule).has_room_for(self.thinking_prefix_ids)

    @property
    def longest_before_answer(self) -> int:
        """Return the maximum length of the context when the answer begins (re-encoding not considered)."""
        return len(self.prompt_ids) + self.max_thinking_tokens + self.grace_tokens + self.num_uncounted_tokens

    @property
    def num_uncounted_tokens(self) -> int:
        """Return the maximum number of injected ids that do not count against the budget."""
        free_strings = self.num_ignore * max(map(len, self.ignore_ids)) if self.budget_rule is BudgetRule.SAMPLED else 0
        marker = max(len(self.answer_ids), len(self.line_break_ids) + len(self.cut_answer_ids))
        return free_strings + marker + len(self.answer_prefix_ids)
