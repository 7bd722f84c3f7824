# SPDX-License-Identifier: Apache-2.0
"""Everything the core must know about one reply before it starts, as ids and counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcingPlan:
    """A request after tokenisation.

    Attributes:
        prompt_ids: the rendered chat and the thinking-start marker.
        thinking_prefix_ids: first words of the thought, injected if the budget holds them and one id more.
        terminators: ids that end a phase; never empty.
        max_thinking_tokens: hard cap over all rounds, sampled and injected ids; 0 = answer at once.
        num_ignore: how many ends of thinking to refuse while the budget allows.
        ignore_ids: put in place of a refused end ("Wait"); may be empty (suppress only).
        max_answer_tokens: cap of the answer, >= 1.
        max_context_tokens: prompt and reply together; the answer is also cut there.
        answer_ids: opens the answer after a natural end.
        cut_answer_ids: opens it after a cut.
        answer_prefix_ids: starts the answer for the model ("Final Answer:"), shown as injected.
        prefix_after_natural_end: put the prefix after a natural end, too.
        line_break_ids: put before ``cut_answer_ids`` unless the text ends in a line break.
        line_break_bearing: every id whose text ends in a line break (2178 of them in Qwen2.5's vocabulary).

    Raises ValueError when built from counts that make no sense.
    """

    prompt_ids: tuple[int, ...]
    terminators: frozenset[int]
    max_thinking_tokens: int
    num_ignore: int
    ignore_ids: tuple[int, ...]
    max_answer_tokens: int
    max_context_tokens: int
    answer_ids: tuple[int, ...]
    cut_answer_ids: tuple[int, ...]
    thinking_prefix_ids: tuple[int, ...] = ()
    answer_prefix_ids: tuple[int, ...] = ()
    prefix_after_natural_end: bool = False
    line_break_ids: tuple[int, ...] = ()
    line_break_bearing: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ValueError("prompt_ids is empty")
        if not self.terminators:
            raise ValueError("terminators is empty: a round could never end by itself")
        counts = (self.max_thinking_tokens, self.num_ignore, self.max_answer_tokens - 1)
        if min(counts) < 0:
            raise ValueError(f"counts out of range: {self.max_thinking_tokens=} {self.num_ignore=} {self.max_answer_tokens=}")
        longest = len(self.prompt_ids) + self.max_thinking_tokens + self.num_closing_tokens
        if longest >= self.max_context_tokens:
            raise ValueError(f"no room for an answer: {longest} of {self.max_context_tokens} tokens may go before it")

    @property
    def num_closing_tokens(self) -> int:
        """The most ids that opening the answer can add to the context."""
        return max(len(self.answer_ids), len(self.line_break_ids) + len(self.cut_answer_ids)) + len(self.answer_prefix_ids)
