# SPDX-License-Identifier: Apache-2.0
"""Translates an engine's refusal of a tensor into a refusal of the request's field. Independent of Triton."""

from __future__ import annotations

from budgetforce.core import Phase
from budgetforce.errors import InvalidRequest
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.requests.request import SAMPLING_RULES, field_of

_FIELD_OF_TENSOR = {"bad_words_list": "bad_words", "runtime_top_k": "top_k", "runtime_top_p": "top_p"}  # the others have equal names


def name_request_field(refusal: InvalidRequest, plan: ReplyPlan, phase: Phase) -> InvalidRequest:
    """Return the refusal with the request's field in place of the engine's tensor.

    Of bad words it shows the first that is several tokens long, which is the kind that engines refuse.
    """
    name = _FIELD_OF_TENSOR.get(refusal.field, refusal.field)
    if name != "bad_words" and name not in SAMPLING_RULES:
        return refusal
    field = field_of(name, phase, plan.thinking_fields)
    texts = plan.effective["thinking_bad_words" if phase is Phase.THINKING else "bad_words"]
    several = [text for text, ids in zip(texts, plan.sampling[phase].bad_words, strict=True) if len(ids) > 1]
    value = several[0] if name == "bad_words" and several else refusal.value
    return InvalidRequest(field, value, refusal.allowed.replace("a single id each", "a single token each"))
