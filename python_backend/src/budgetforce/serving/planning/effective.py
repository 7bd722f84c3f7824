# SPDX-License-Identifier: Apache-2.0
"""The ``effective`` part of a result: every parameter as the plan applies it. Independent of Triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from budgetforce.core import ForcingPlan, Phase, ThinkingMode
from budgetforce.engine.base import Sampling
from budgetforce.presets import Preset
from budgetforce.serving.planning.defaults import prefix_policy, sampling_fields, value_or_default
from budgetforce.serving.requests.request import ReplyRequest
from budgetforce.serving.result_schema import Effective

_SAMPLING_FIELDS = [field.name for field in fields(Sampling)]


def effective_report(
    request: ReplyRequest,
    preset: Preset,
    forcing: ForcingPlan,
    sampling: Mapping[Phase, Sampling],
    *,
    num_masked_ids: int,
    engine_model: str,
) -> Effective:
    """Return every parameter of a planned request as it is applied."""
    by_phase: dict[Phase, Any] = {
        phase: {name: getattr(values, name) for name in _SAMPLING_FIELDS}
        | {"bad_words": sampling_fields(request, preset, phase).get("bad_words", ())}
        for phase, values in sampling.items()
    }
    report = {
        "preset": preset.name,
        "thinking": request.thinking,
        "max_thinking_tokens": forcing.max_thinking_tokens,
        "reasoning_effort": request.reasoning_effort,
        "min_thinking_tokens": forcing.min_thinking_tokens,
        "num_ignore": forcing.num_ignore,
        "ignore_str": value_or_default(request.ignore_str, preset.thinking.ignore_str),
        "grace_tokens": forcing.grace_tokens,
        "thinking_prefix": _thinking_prefix(preset, forcing),
        "answer_prefix": value_or_default(request.answer_prefix, preset.answer.prefix),
        "answer_prefix_policy": prefix_policy(request, preset.answer),
        "max_tokens": min(forcing.max_answer_tokens, forcing.max_context_tokens),
        "max_total_tokens": request.max_total_tokens,
        "max_context_tokens": forcing.max_context_tokens,
        "num_samples": request.num_samples,
        "priority": request.priority,
        "timeout_ms": request.timeout_ms,
        "on_timeout": request.on_timeout or (None if request.timeout_ms is None else "cancel"),
        "num_masked_ids": num_masked_ids,
        "stop_words": request.stop_words,
        **by_phase[Phase.ANSWER],
        **{f"thinking_{name}": value for name, value in by_phase[Phase.THINKING].items()},
        "engine_model": engine_model,
    }
    return cast("Effective", report)  # mypy cannot follow the sampling fields; tests/serving/test_result_schema.py compares the keys


def _thinking_prefix(preset: Preset, forcing: ForcingPlan) -> str | None:
    """Return the first words of a forced thought, "" if none is forced, None if the budget has no room for the preset's."""
    if forcing.mode is not ThinkingMode.FORCED or not forcing.max_thinking_tokens:
        return ""
    return preset.thinking.prefix if forcing.holds_thinking_prefix else None
