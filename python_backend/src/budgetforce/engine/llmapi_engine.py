# SPDX-License-Identifier: Apache-2.0
"""TensorRT-LLM's LLM API (its PyTorch backend) as a ``TokenSource``, for images without the engine backend.

Not yet run on a GPU. Written from NVIDIA/TensorRT-LLM's sources:

* signatures: tests/unittest/api_stability/references_committed/{llm,sampling_params}.yaml @029c15c, @3ba4754;
* a stop id is cut from the output unless ``include_stop_str_in_output`` is set; stop and bad words are texts
  or single ids (tensorrt_llm/executor/result.py @a678b91, sampling_params.py @a98a906): ``EndDetector``
  finds stop words of several ids;
* without a tokenizer ``end_id`` is required; ``ignore_eos`` sets it to -1, none (llmapi/llm.py @4c05a74,
  executor/base_worker.py);
* ``max_tokens`` beyond the context is cut with only a warning: all calls are validated before;
* before TorchSampler was the only sampler (1.3.0rc26, docs/source/features/sampling.md) it accepted and ignored
  bad words (PR 16052), penalties (PR 16485) and seeds (PR 17172);
* a seed reproduces a call that is sampled alone, not necessarily in a batch (sampler/seed_manager.py @2341856,
  which keeps it as int64, unchecked).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import tensorrt_llm
from tensorrt_llm import LLM, SamplingParams
from tensorrt_llm.llmapi import KvCacheConfig

from budgetforce.config import LibraryConfig
from budgetforce.engine.async_engine import SampledIds
from budgetforce.engine.call_limits import MAX_SEED
from budgetforce.engine.model_files import hf_limits
from budgetforce.engine.token_engine import ModelLimits, TokenCall
from budgetforce.errors import ConfigError, InvalidRequest

OLDEST = "1.3.0rc26"
_NO_END = -1


class LlmApiSource:
    """Implements ``TokenSource`` with TensorRT-LLM's LLM API."""

    def __init__(self, llm: LLM, limits: ModelLimits, block_size: int) -> None:
        self.limits = limits
        self.block_size = block_size
        self._llm = llm

    @classmethod
    async def start(cls, config: LibraryConfig) -> LlmApiSource:
        """Load the model, which blocks the loop. Raises ConfigError for a version that ignores sampling parameters."""
        if _order(tensorrt_llm.__version__) < _order(OLDEST):
            raise ConfigError(f"TensorRT-LLM {tensorrt_llm.__version__} ignores bad words, penalties and seeds; needed: {OLDEST} or later")
        llm = LLM(
            model=config.model_dir,
            skip_tokenizer_init=True,
            tensor_parallel_size=config.tensor_parallel,
            max_seq_len=config.max_seq_len,
            max_batch_size=config.max_replies,
            load_format=config.load_format,  # a name of LoadFormat in any case (llmapi/llm_args.py)
            enable_chunked_prefill=True,  # otherwise a prompt longer than max_num_tokens is refused
            kv_cache_config=KvCacheConfig(
                enable_block_reuse=True, free_gpu_memory_fraction=config.memory_fraction, tokens_per_block=config.block_size
            ),
        )
        limits = ModelLimits(vocab_size=hf_limits(Path(config.model_dir)).vocab_size, max_seq_len=config.max_seq_len)
        return cls(llm, limits, config.block_size)

    def check(self, call: TokenCall) -> None:
        seed = call.sampling.seed
        if seed is not None and seed > MAX_SEED:  # it would fail the running step of all calls, in the engine's process
            raise InvalidRequest("seed", seed, f"0 to {MAX_SEED} (this engine keeps seeds as int64)")

    async def sample(self, name: str, call: TokenCall) -> AsyncGenerator[SampledIds, None]:  # noqa: ARG002  # the library numbers calls itself
        output = self._llm.generate_async(list(call.input_ids), sampling_params(call), streaming=True)
        try:
            async for _ in output:
                yield SampledIds(ids=tuple(output.outputs[0].token_ids_diff), num_cached_ids=getattr(output, "cached_tokens", None))
        finally:
            if not output.finished:
                output.abort()
        reason = output.outputs[0].finish_reason
        if reason not in ("stop", "length"):
            raise RuntimeError(f"TensorRT-LLM ended the call: {reason}")

    def close(self) -> None:
        self._llm.shutdown()


def sampling_params(call: TokenCall) -> SamplingParams:
    """Return a call as the LLM API's sampling parameters."""
    return SamplingParams(
        max_tokens=call.max_new_tokens,
        end_id=_NO_END if call.end_id is None else call.end_id,
        pad_id=0,  # the default is end_id, which may be none
        ignore_eos=call.end_id is None,
        min_tokens=call.min_tokens if call.min_tokens and call.end_id is not None else None,
        stop_token_ids=sorted(word[0] for word in call.stop_words if len(word) == 1) or None,
        include_stop_str_in_output=True,
        bad_token_ids=sorted(call.banned_ids) or None,
        detokenize=False,
        **_picking(call),
    )


def _picking(call: TokenCall) -> dict[str, Any]:
    sampling = call.sampling
    penalties = {
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    if not call.is_sampled:
        return penalties  # the library is greedy by default
    return penalties | {
        "temperature": 1.0 if sampling.temperature is None else sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }


def _order(version: str) -> tuple[int, ...]:
    """Return a sort key of a version; a release candidate comes before its release."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)(?:rc(\d+))?", version)
    if match is None:
        raise ConfigError(f"TensorRT-LLM has version {version!r}; expected a version like {OLDEST}")
    *release, candidate = match.groups()
    return (*map(int, release), int(candidate) if candidate is not None else 1 << 30)
