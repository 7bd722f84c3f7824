# SPDX-License-Identifier: Apache-2.0
"""Refusals of fields that contradict each other or the model preset: they are never ignored. Independent of Triton."""

from __future__ import annotations

from budgetforce.core import BudgetRule, ForcingPlan, Phase, ThinkingMode
from budgetforce.engine.base import Sampling
from budgetforce.errors import InvalidRequest, shorten
from budgetforce.presets import Preset
from budgetforce.serving.planning.defaults import prefix_policy, value_or_default
from budgetforce.serving.requests.request import ReplyRequest, field_of

_FORCING_FIELDS = ("max_thinking_tokens", "reasoning_effort", "min_thinking_tokens", "num_ignore", "ignore_str", "grace_tokens")
_ANSWER_FIELDS = ("answer_prefix", "answer_prefix_policy")
_FIELDS_WITHOUT_EFFECT = {
    ThinkingMode.FORCED: (),
    ThinkingMode.OFF: _FORCING_FIELDS,
    ThinkingMode.FREE: (*_FORCING_FIELDS, *_ANSWER_FIELDS),
}


def refuse_fields_without_effect(request: ReplyRequest, preset: Preset) -> None:
    """Raise InvalidRequest naming the first field that has no effect with the request's other fields and its preset."""
    _refuse_by_thinking_mode(request)
    _refuse_effort(request, preset)
    _refuse_on_timeout(request, preset)
    _refuse_answer_prefix(request, preset)
    _refuse_stop_words_in_prefix(request, preset)
    _refuse_fields_of_audit_presets(request, preset)


def _refuse_by_thinking_mode(request: ReplyRequest) -> None:
    for name in _FIELDS_WITHOUT_EFFECT[request.thinking]:
        if getattr(request, name) is not None:
            raise InvalidRequest(name, getattr(request, name), f"nothing: thinking is {request.thinking.value}")
    if request.thinking is ThinkingMode.OFF and request.thinking_sampling:
        name, value = next(iter(request.thinking_sampling.items()))
        raise InvalidRequest(f"thinking_{name}", value, "nothing: thinking is off")


def _refuse_effort(request: ReplyRequest, preset: Preset) -> None:
    if request.reasoning_effort is None:
        return
    if request.max_thinking_tokens is not None:
        raise InvalidRequest("reasoning_effort", request.reasoning_effort, "nothing beside max_thinking_tokens, which sets the same budget")
    if not preset.thinking.efforts:
        allowed = f"nothing: preset {preset.name} has no budgets for efforts; max_thinking_tokens sets a budget"
        raise InvalidRequest("reasoning_effort", request.reasoning_effort, allowed)


def _refuse_on_timeout(request: ReplyRequest, preset: Preset) -> None:
    if request.on_timeout and request.timeout_ms is None:
        raise InvalidRequest("on_timeout", request.on_timeout, "nothing: there is no timeout_ms")
    if request.on_timeout == "answer" and preset.answer.left_to_model:
        raise InvalidRequest("on_timeout", "answer", f"cancel with preset {preset.name}, which leaves the answer to the model")


def _refuse_answer_prefix(request: ReplyRequest, preset: Preset) -> None:
    policy = prefix_policy(request, preset.answer)
    if request.answer_prefix and (policy == "never" or preset.answer.left_to_model):
        raise InvalidRequest("answer_prefix", request.answer_prefix, f"nothing: with preset {preset.name} answer_prefix_policy is {policy}")
    if request.answer_prefix_policy not in (None, "never") and not value_or_default(request.answer_prefix, preset.answer.prefix):
        raise InvalidRequest("answer_prefix_policy", request.answer_prefix_policy, "never, or an answer_prefix with it")


def _refuse_stop_words_in_prefix(request: ReplyRequest, preset: Preset) -> None:
    """Raise InvalidRequest for a stop word that the answer prefix contains: it would end every answer before its first word.

    With thinking off the prefix may be a partial answer to be continued; a stop word in it is allowed and ends nothing.
    """
    prefix = value_or_default(request.answer_prefix, preset.answer.prefix)
    if request.thinking is not ThinkingMode.FORCED or prefix_policy(request, preset.answer) == "never" or preset.answer.left_to_model:
        return
    for word in request.stop_words:
        if word in prefix:
            allowed = f"a text that does not occur in answer_prefix ({shorten(prefix)}), which stands before the answer"
            raise InvalidRequest("stop_words", word, allowed)


def refuse_recounted_penalties(request: ReplyRequest, forcing: ForcingPlan, thinking: Sampling) -> None:
    """Raise InvalidRequest for a penalty on a thought of several engine calls, because each call would count from zero.

    Engines count presence and frequency over a call's own tokens (OpenVINO, vLLM), or over them and the whole prompt
    (TensorRT-LLM, llama.cpp); none counts over the reply alone. All engines count repetition_penalty over the prompt too, which
    contains the calls before.
    """
    causes = {"num_ignore": forcing.num_ignore, "min_thinking_tokens": forcing.min_thinking_tokens, "grace_tokens": forcing.grace_tokens}
    cause = next((name for name, value in causes.items() if value), None)
    if forcing.mode is not ThinkingMode.FORCED or not forcing.max_thinking_tokens or cause is None:
        return
    for name in ("presence_penalty", "frequency_penalty"):
        if value := getattr(thinking, name):
            field = field_of(name, Phase.THINKING, request.thinking_sampling)
            allowed = f"0 in a thought with {cause} {causes[cause]}: it has several rounds, and each would count anew"
            raise InvalidRequest(field, value, allowed if field != name else f"{allowed} (thinking_{name} 0 keeps it to the answer)")


def _refuse_fields_of_audit_presets(request: ReplyRequest, preset: Preset) -> None:
    """Raise InvalidRequest for a field that an audit preset, which repeats its authors' program, does not have."""
    rule = BudgetRule(preset.thinking.budget_rule)
    if request.thinking is not ThinkingMode.FORCED and rule is not BudgetRule.EXACT:
        raise InvalidRequest("thinking", request.thinking, f"forced with preset {preset.name}, which is for audits")
    if request.max_total_tokens is not None and rule is not BudgetRule.EXACT:
        raise InvalidRequest("max_total_tokens", request.max_total_tokens, f"nothing with preset {preset.name}, which is for audits")
    if request.grace_tokens and rule is not BudgetRule.EXACT:
        raise InvalidRequest("grace_tokens", request.grace_tokens, f"0 with preset {preset.name}, which cuts as its authors do")
    num_ignore = value_or_default(request.num_ignore, preset.thinking.num_ignore)
    if request.min_thinking_tokens and num_ignore and rule is BudgetRule.PER_ROUND:
        raise InvalidRequest("min_thinking_tokens", request.min_thinking_tokens, f"0 with preset {preset.name} and num_ignore {num_ignore}")
    if request.min_thinking_tokens and rule is BudgetRule.SAMPLED:
        raise InvalidRequest("min_thinking_tokens", request.min_thinking_tokens, f"0 with preset {preset.name}, which has no floor")
