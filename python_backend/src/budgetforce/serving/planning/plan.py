# SPDX-License-Identifier: Apache-2.0
"""A request that has been planned: token ids, budgets and sampling, ready to run. Independent of Triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from budgetforce.core import ForcingPlan, Phase
from budgetforce.engine.base import Sampling
from budgetforce.provenance import TrainingRecord
from budgetforce.serving.result_schema import Effective
from budgetforce.text.stop_words import StopWords


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPlan:
    """The plan of a request, which all its samples share.

    Attributes:
        forcing: plan of the core.
        sampling: parameters of the engine calls, by phase; the seed is the request's.
        thinking_fields: sampling fields that the request set for thinking alone, without their prefix ``thinking_``.
        masked_ids: rows of the embedding without a token, banned in every engine call.
        stop_words: texts that end the answer.
        thinking_stop_words: texts that end thinking, in an audit preset.
        num_samples: samples to generate.
        priority: place in the queue; higher values go first.
        num_answer_tokens: tokens of the context that are reserved for the answer.
        effective: every parameter as it is applied, for the result.
        training: how the engine's model was trained, for the result; None if it has no record.
    """

    forcing: ForcingPlan
    sampling: Mapping[Phase, Sampling]
    thinking_fields: frozenset[str]
    masked_ids: frozenset[int]
    stop_words: StopWords
    thinking_stop_words: StopWords
    num_samples: int
    priority: int
    num_answer_tokens: int
    effective: Effective
    training: TrainingRecord | None = None

    @property
    def max_kv_tokens(self) -> int:
        """The most tokens that all samples together can hold in the KV cache."""
        prompt, forcing = len(self.forcing.prompt_ids), self.forcing
        most = forcing.longest_before_answer + forcing.max_answer_tokens
        if forcing.max_total_tokens is not None:
            most = min(most, prompt + forcing.num_uncounted_tokens + forcing.max_total_tokens)
        longest = min(most, forcing.max_context_tokens)
        return prompt + self.num_samples * (longest - prompt)

    def stop_words_of(self, phase: Phase) -> StopWords:
        """Return the texts that end ``phase``."""
        return self.thinking_stop_words if phase is Phase.THINKING else self.stop_words
