# SPDX-License-Identifier: Apache-2.0
"""Refusals of requests that do not fit the context: each names the field that could give way, and by how much. Independent of Triton."""

from __future__ import annotations

from budgetforce.core import BudgetRule, ForcingPlan, ThinkingMode
from budgetforce.errors import InvalidRequest
from budgetforce.presets import AnswerPreset
from budgetforce.serving.requests.request import ReplyRequest


def check_prefix_fits(request: ReplyRequest, plan: ForcingPlan, answer: AnswerPreset) -> None:
    """Raise InvalidRequest for an answer prefix behind a thought that is longer than the answer's reserve.

    With thinking off the prefix may be a whole answer to be continued, which only the context limits.
    """
    num_ids = len(plan.answer_prefix_ids)
    if request.thinking is not ThinkingMode.OFF and request.answer_prefix is not None and num_ids > answer.reserve_tokens:
        allowed = f"at most {answer.reserve_tokens} tokens, the room that is reserved for an answer"
        raise InvalidRequest("answer_prefix", f"{num_ids} tokens", allowed)


def too_long(request: ReplyRequest, plan: ForcingPlan, context: int, reserve: int) -> InvalidRequest:
    """Return the refusal of a request whose parts exceed the context even with a thinking budget of 0."""
    others = plan.longest_before_answer - plan.grace_tokens
    most_grace = context - others - reserve
    if request.grace_tokens and most_grace >= 0:
        return InvalidRequest("grace_tokens", request.grace_tokens, f"0 to {most_grace} in a context of {context} tokens")
    if request.max_tokens is not None and context - others >= 1:
        return InvalidRequest(
            "max_tokens", request.max_tokens, f"1 to {context - others} behind this prompt in a context of {context} tokens"
        )
    most_prefix = context - reserve - (others - len(plan.answer_prefix_ids))
    if request.answer_prefix and most_prefix >= 0:
        allowed = f"at most {most_prefix} tokens behind this prompt in a context of {context} tokens"
        return InvalidRequest("answer_prefix", f"{len(plan.answer_prefix_ids)} tokens", allowed)
    if request.num_ignore and plan.budget_rule is BudgetRule.SAMPLED:
        allowed = f"fewer: their ignore strings may take {plan.num_uncounted_tokens} tokens in a context of {context}"
        return InvalidRequest("num_ignore", request.num_ignore, allowed)
    most_prompt = max(0, context - others + len(plan.prompt_ids) - reserve)
    allowed = f"at most {most_prompt} tokens: the context holds {context}, of which {reserve} are reserved for the answer"
    return InvalidRequest(request.prompt_field, f"{len(plan.prompt_ids)} tokens", allowed)


def budget_too_large(requested: int, *, room: int, context: int, num_fixed: int, reserve: int) -> InvalidRequest:
    """Return the refusal of a thinking budget beyond the ``room`` that prompt, markers and answer leave in the context."""
    allowed = f"-1 to {room}: the context holds {context} tokens, {num_fixed} are prompt and markers, {reserve} the answer's"
    return InvalidRequest("max_thinking_tokens", requested, allowed)
