# SPDX-License-Identifier: Apache-2.0
"""vLLM's asynchronous engine as a ``TokenSource``; it computes in processes of its own.

Facts of vLLM 0.32.0 that shape the requests to it (vllm/sampling_params.py, vllm/v1/core/sched/utils.py):

* an id outside the vocabulary kills the engine with all its calls, and ``max_tokens`` beyond the
  context is cut silently: all calls are validated before;
* stop ids are returned, and ``end_id`` is a stop id; there are no stop words of several ids:
  ``EndDetector`` finds those;
* ``min_tokens`` suppresses every stop id, not only ``end_id``: calls with ``min_tokens`` and an ``end_id``
  leave all stop words to ``EndDetector``;
* the end ids in the model's own files stop a call, and ``min_tokens`` suppresses them, unless
  neither tokenizer nor generation config is loaded and ``ignore_eos`` is set;
* bad words are texts: a bias of minus infinity bans ids;
* more than 1,024 biased ids, more than 128 stop ids together with ``min_tokens``, or a 64-bit seed crash its engine on GPUs
  (vllm/v1/worker/gpu/sample/logit_bias.py, states.py); versions with VLLM_MAX_STOP_TOKEN_IDS refuse more than 128 in any
  call: more are left to ``EndDetector``;
* a temperature below 0.01 is raised; a temperature above 2 is refused;
* ``repetition_penalty`` counts the prompt, the other two penalties do not (TensorRT-LLM's do).
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing

from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams, TokensPrompt
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.exceptions import EngineDeadError

from budgetforce.config import LibraryConfig
from budgetforce.engine.async_engine import SampledIds, SourceDied
from budgetforce.engine.call_limits import MAX_SEED, VLLM
from budgetforce.engine.token_engine import ModelLimits, TokenCall
from budgetforce.errors import InvalidRequest

_TEMPERATURES = (0.01, 2.0)
_MAX_STOP_IDS = 128  # MAX_NUM_STOP_TOKEN_IDS of vllm/v1/worker/gpu/sample/logit_bias.py
_EXIT_S = 2.0  # an orderly exit takes its processes 4 s, Triton waits 10 s in total, and there is no state to save


class VllmSource:
    """Implements ``TokenSource`` with vLLM's asynchronous engine."""

    def __init__(self, engine: AsyncLLMEngine, config: LibraryConfig) -> None:
        self.limits = ModelLimits(vocab_size=engine.model_config.get_vocab_size(), max_seq_len=config.max_seq_len)
        self.block_size = config.block_size
        self._engine = engine

    @classmethod
    async def start(cls, config: LibraryConfig) -> VllmSource:
        """Load the model, which blocks the loop."""
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # otherwise vLLM reports usage to its makers
        # As vLLM's own server does. The default, fork, would copy a process in which Triton's threads and CUDA are active.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        arguments = AsyncEngineArgs(
            model=config.model_dir,
            max_model_len=config.max_seq_len,
            tensor_parallel_size=config.tensor_parallel,
            gpu_memory_utilization=config.memory_fraction,
            block_size=config.block_size,
            max_num_seqs=config.max_replies,
            load_format=config.load_format,
            enable_prefix_caching=True,
            skip_tokenizer_init=True,
            generation_config="vllm",
            enforce_eager=current_platform.is_cpu(),  # on a CPU compiling takes a minute, needs a compiler and gains nothing
            disable_log_stats=True,
        )
        # The usage context sets how many tokens a step may prefill: 8,192 on an H100, 2,048 without a context.
        return cls(AsyncLLMEngine.from_engine_args(arguments, usage_context=UsageContext.OPENAI_API_SERVER), config)

    def check(self, call: TokenCall) -> None:
        temperature = call.sampling.temperature
        lowest, highest = _TEMPERATURES
        if call.is_sampled and temperature is not None and not lowest <= temperature <= highest:
            raise InvalidRequest("temperature", temperature, f"{lowest} to {highest} (this engine's range)")
        seed, num_banned = call.sampling.seed, len(self._known(call.banned_ids))
        if seed is not None and seed > MAX_SEED:
            raise InvalidRequest("seed", seed, f"0 to {MAX_SEED} (this engine keeps seeds as int64)")
        if num_banned > (most := VLLM.max_banned_ids or num_banned):
            raise InvalidRequest("bad_words_list", f"{num_banned} ids", f"at most {most} (this engine's limit)")
        num_held = len(self._stop_ids(call))
        if call.min_tokens and num_held > _MAX_STOP_IDS:
            raise InvalidRequest("stop_words_list", f"{num_held} ids", f"at most {_MAX_STOP_IDS} with min_tokens (this engine's limit)")

    async def sample(self, name: str, call: TokenCall) -> AsyncGenerator[SampledIds, None]:
        prompt = TokensPrompt(prompt_token_ids=list(call.input_ids))
        try:
            async with aclosing(self._engine.generate(prompt, self._params(call), name)) as outputs:
                async for output in outputs:
                    (completion,) = output.outputs
                    yield SampledIds(ids=tuple(completion.token_ids), num_cached_ids=output.num_cached_tokens)
                    if completion.finish_reason not in (None, "stop", "length"):
                        raise RuntimeError(f"vLLM ended the call: {completion.finish_reason}")
        except EngineDeadError as error:
            raise SourceDied("vLLM's engine process has ended") from error

    def close(self) -> None:
        self._engine.shutdown(_EXIT_S)

    def _params(self, call: TokenCall) -> SamplingParams:
        sampling = call.sampling
        stop_ids = self._stop_ids(call)
        return SamplingParams(
            max_tokens=call.max_new_tokens,
            min_tokens=min(call.min_tokens, call.max_new_tokens),
            stop_token_ids=stop_ids if len(stop_ids) <= _MAX_STOP_IDS else [],
            logit_bias=dict.fromkeys(self._known(call.banned_ids), -math.inf) or None,
            temperature=_or(sampling.temperature, 1.0) if call.is_sampled else 0.0,
            top_k=sampling.top_k or 0,
            top_p=_or(sampling.top_p, 1.0),
            seed=sampling.seed,
            repetition_penalty=_or(sampling.repetition_penalty, 1.0),
            presence_penalty=sampling.presence_penalty or 0.0,
            frequency_penalty=sampling.frequency_penalty or 0.0,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    def _stop_ids(self, call: TokenCall) -> list[int]:
        """Return the ids at which the library may stop, and which ``min_tokens`` keeps off the call's start."""
        return self._known(call.single_stop_ids if call.end_id is None or not call.min_tokens else frozenset({call.end_id}))

    def _known(self, ids: frozenset[int]) -> list[int]:
        """Return the ids within the vocabulary, sorted: vLLM refuses others, which are never sampled anyway."""
        return [token_id for token_id in sorted(ids) if 0 <= token_id < self.limits.vocab_size]


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
