# SPDX-License-Identifier: Apache-2.0
"""Values that the request sets or, where it does not, its model preset. Independent of Triton."""

from __future__ import annotations

from typing import Any

from budgetforce.core import Phase, ThinkingMode
from budgetforce.presets import AnswerPreset, Preset, ThinkingPreset
from budgetforce.serving.requests.request import ReplyRequest


def value_or_default(value: Any, default: Any) -> Any:
    """Return ``value``, or ``default`` if the request did not set it (None)."""
    return default if value is None else value


def default_budget(request: ReplyRequest, thinking: ThinkingPreset) -> int:
    """Return the thinking budget in tokens of a request that names none: its effort's, else the preset's; -1 = what the context allows.

    Either shrinks to fit the context.
    """
    return thinking.max_tokens if request.reasoning_effort is None else thinking.efforts[request.reasoning_effort]


def prefix_policy(request: ReplyRequest, answer: AnswerPreset) -> str:
    """Return when the answer prefix is injected: auto, always or never.

    The preset's prefix follows a thought. With thinking off there is none, so only a prefix of the request counts.
    """
    if request.thinking is ThinkingMode.OFF:
        return request.answer_prefix_policy or ("never" if request.answer_prefix is None else "always")
    return request.answer_prefix_policy or answer.prefix_policy


def answer_room(request: ReplyRequest, answer: AnswerPreset, context: int) -> tuple[int, int]:
    """Return (cap of the answer, tokens of the context reserved for it)."""
    if request.max_tokens is not None:
        return request.max_tokens, request.max_tokens
    cap = context if answer.max_tokens == -1 else answer.max_tokens
    total = value_or_default(request.max_total_tokens, cap)
    return min(cap, total), min(answer.reserve_tokens, total)  # no answer is longer than the whole reply


def sampling_fields(request: ReplyRequest, preset: Preset, phase: Phase) -> dict[str, Any]:
    """Return the sampling fields that apply to ``phase``: the preset's, overridden by the request's, then by its thinking_ fields."""
    return {**preset.sampling, **request.sampling, **(request.thinking_sampling if phase is Phase.THINKING else {})}
