# SPDX-License-Identifier: Apache-2.0
"""What an engine library takes in one call, where it would silently change a larger value, or end with all its calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_SEED = 2**63 - 1  # of the libraries that keep it as int64: vLLM's runner V2, TensorRT-LLM's PyTorch sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Limits of one engine call. None = the library has none that matters.

    Attributes:
        max_top_k: a larger one is cut to this.
        max_banned_ids: more of them end the library, with all its calls.
    """

    max_top_k: int | None = None
    max_banned_ids: int | None = None


NO_LIMITS = CallLimits()
VLLM = CallLimits(max_banned_ids=1024)  # MAX_NUM_LOGIT_BIAS_TOKENS of vllm/v1/worker/gpu/sample/logit_bias.py, 0.32.0
TENSORRT_LLM = CallLimits(max_top_k=1024)  # TOP_K_MAX of cpp/tensorrt_llm/layers/topKSamplingLayer.cu: a warning in the log alone

# By the name of the engine's model, which is all that s1 knows of it; of another name the operator is told at start.
LIMITS_OF_MODEL: Mapping[str, CallLimits] = {
    "embedded_llm": NO_LIMITS,
    "tensorrt_llm": TENSORRT_LLM,
    "vllm_llm": VLLM,
    "llmapi_llm": NO_LIMITS,
}
