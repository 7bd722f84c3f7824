# SPDX-License-Identifier: Apache-2.0
"""Stand-in for the part of vLLM 0.32.0 that engine/vllm_engine.py uses, with the same names and behaviour.

Signatures: tests/fakes/library_signatures.json. Behaviour observed in the original: a stop id is
returned; ``min_tokens`` suppresses all stop ids; an id outside the vocabulary kills the engine;
``max_tokens`` beyond the context is cut; ids biased by minus infinity are never sampled. From its
source: more than 1,024 biased ids or a seed that is no int64 kill the engine on GPUs, as do more than 128 stop ids with
``min_tokens``; versions with VLLM_MAX_STOP_TOKEN_IDS refuse so many in any call.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypedDict

import library_script as script

from vllm.sampling_params import RequestOutputKind
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.exceptions import EngineDeadError

VOCAB_SIZE = 100
MAX_NUM_LOGIT_BIAS_TOKENS = 1024
MAX_NUM_STOP_TOKEN_IDS = 128


class TokensPrompt(TypedDict):
    prompt_token_ids: list[int]


@dataclass
class SamplingParams:
    max_tokens: int | None = 16
    min_tokens: int = 0
    stop_token_ids: list[int] | None = None
    logit_bias: dict[int, float] | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    ignore_eos: bool = False
    detokenize: bool = True
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE

    def __post_init__(self) -> None:
        if (
            not 0 <= self.temperature <= 2
            or len(self.stop_token_ids or ()) > MAX_NUM_STOP_TOKEN_IDS
            or self.min_tokens > (self.max_tokens or 0)
        ):
            raise ValueError("VLLMValidationError")


@dataclass
class AsyncEngineArgs:
    model: str = "Qwen/Qwen3-0.6B"
    max_model_len: int | None = None
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.92
    block_size: int | None = None
    enable_prefix_caching: bool | None = None
    skip_tokenizer_init: bool = False
    generation_config: str = "auto"
    enforce_eager: bool = False
    disable_log_stats: bool = False
    max_num_seqs: int | None = None
    load_format: str = "auto"


@dataclass
class CompletionOutput:
    token_ids: list[int]
    finish_reason: str | None = None


@dataclass
class RequestOutput:
    outputs: list[CompletionOutput]
    num_cached_tokens: int | None = None
    finished: bool = False


@dataclass
class AsyncLLMEngine:
    args: AsyncEngineArgs
    usage_context: UsageContext
    model_config: Any = field(default_factory=lambda: SimpleNamespace(get_vocab_size=lambda: VOCAB_SIZE))
    params: list[SamplingParams] = field(default_factory=list)
    shut_down: bool = False

    @classmethod
    def from_engine_args(cls, engine_args: AsyncEngineArgs, usage_context: UsageContext = UsageContext.ENGINE_CONTEXT) -> AsyncLLMEngine:
        asyncio.get_running_loop()
        script.num_started += 1
        script.died = False
        return cls(engine_args, usage_context)

    async def generate(self, prompt: TokensPrompt, sampling_params: SamplingParams, request_id: str) -> AsyncGenerator[RequestOutput, None]:
        self.params.append(sampling_params)
        is_too_much = len(sampling_params.logit_bias or ()) > MAX_NUM_LOGIT_BIAS_TOKENS or (sampling_params.seed or 0) >= 1 << 63
        if is_too_much or max(prompt["prompt_token_ids"]) >= self.model_config.get_vocab_size():
            script.died = True
        script.running.add(request_id)
        try:
            async for output in self._generate(prompt, sampling_params):
                yield output
        except (asyncio.CancelledError, GeneratorExit):
            script.left.append(request_id)
            raise
        finally:
            script.running.discard(request_id)

    async def _generate(self, prompt: TokensPrompt, params: SamplingParams) -> AsyncGenerator[RequestOutput, None]:
        assert params.ignore_eos and not params.detokenize and params.output_kind is RequestOutputKind.DELTA
        stops, num_said = set(params.stop_token_ids or ()), 0
        assert all(0 <= token_id < self.model_config.get_vocab_size() for token_id in (*stops, *(params.logit_bias or ()))), (
            "VLLMValidationError"
        )
        room = (self.args.max_model_len or 0) - len(prompt["prompt_token_ids"])
        for token_id in script.ids:
            await asyncio.sleep(0)
            if script.died:
                raise EngineDeadError("EngineCore encountered an issue.")
            if script.broken:
                raise ValueError("the call broke\nsecond line")
            if (params.logit_bias or {}).get(token_id) == -math.inf or (num_said < params.min_tokens and token_id in stops):
                continue
            num_said += 1
            reason = "stop" if token_id in stops else "length" if num_said >= min(params.max_tokens or 0, room) else None
            yield RequestOutput([CompletionOutput([token_id], reason)], script.num_cached, reason is not None)
            if reason:
                return
        while not script.died:
            await asyncio.sleep(0.001)  # nothing more comes
        raise EngineDeadError("EngineCore encountered an issue.")

    def shutdown(self, timeout: float | None = None) -> None:
        self.shut_down = True
