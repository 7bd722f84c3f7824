# SPDX-License-Identifier: Apache-2.0
"""An engine's refusal of one of its tensors, in terms of the field that the caller gave. Knows no Triton."""

from __future__ import annotations

from budgetforce.core import Phase
from budgetforce.errors import InvalidRequest
from budgetforce.serving.planning.planner import ReplyPlan
from budgetforce.serving.requests.request import SAMPLING_RULES, field_of

# Tensors that have another name than the field they come from.
_FIELDS = {"bad_words_list": "bad_words", "runtime_top_k": "top_k", "runtime_top_p": "top_p"}


def name_request_field(refusal: InvalidRequest, plan: ReplyPlan, phase: Phase) -> InvalidRequest:
    """The same refusal with the caller's field; of bad words with the first that is several tokens, which engines refuse."""
    name = _FIELDS.get(refusal.field, refusal.field)
    if name != "bad_words" and name not in SAMPLING_RULES:
        return refusal
    field = field_of(name, phase, plan.thinking_fields)
    texts = plan.effective["thinking_bad_words" if phase is Phase.THINKING else "bad_words"]
    several = [text for text, ids in zip(texts, plan.sampling[phase].bad_words, strict=True) if len(ids) > 1]
    value = several[0] if name == "bad_words" and several else refusal.value
    return InvalidRequest(field, value, refusal.allowed.replace("one id each", "one token each"))
