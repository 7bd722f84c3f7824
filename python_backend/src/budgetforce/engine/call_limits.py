# SPDX-License-Identifier: Apache-2.0
"""What engine libraries support in a single call. Beyond its limits a library silently changes the value or crashes with all its calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_SEED = 2**63 - 1  # vLLM's runner V2 and TensorRT-LLM's PyTorch sampler keep seeds as int64


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Limits on an engine call. None = the library has no such limit.

    Attributes:
        max_top_k: the library cuts a larger top-k to this.
        max_banned_ids: more banned ids crash the library with all its calls.
        keeps_min_tokens: ``min_tokens`` of a call without an ``end_id`` keeps its stop words of a single id off its first ids.
    """

    max_top_k: int | None = None
    max_banned_ids: int | None = None
    keeps_min_tokens: bool = False


NO_LIMITS = CallLimits()
VLLM = CallLimits(
    max_banned_ids=1024, keeps_min_tokens=True
)  # MAX_NUM_LOGIT_BIAS_TOKENS of vllm/v1/worker/gpu/sample/logit_bias.py, 0.32.0
TENSORRT_LLM = CallLimits(max_top_k=1024)  # TOP_K_MAX of cpp/tensorrt_llm/layers/topKSamplingLayer.cu: it only logs a warning

# By the engine model's name, from which s1 infers its library. For other names s1 logs a warning at start.
LIMITS_OF_MODEL: Mapping[str, CallLimits] = {
    "embedded_llm": NO_LIMITS,
    "tensorrt_llm": TENSORRT_LLM,
    "vllm_llm": VLLM,
    "llmapi_llm": NO_LIMITS,
}


def limits_of(engine_model: str) -> CallLimits:
    """Return the limits of the library behind an engine model of that name; none for an unknown name."""
    return LIMITS_OF_MODEL.get(engine_model, NO_LIMITS)
