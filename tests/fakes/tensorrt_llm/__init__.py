# SPDX-License-Identifier: Apache-2.0
"""Stand-in for the part of TensorRT-LLM's LLM API that engine/llmapi_engine.py uses, written from its sources.

Signatures: tests/fakes/library_signatures.json, from NVIDIA's own record of the stable API.
Behaviour (tensorrt_llm/executor/result.py @a678b91, _torch/pyexecutor/sampler): the result iterates
over itself, a response per turn; a stop id is cut from the output unless ``include_stop_str_in_output``;
an end id is returned; ``end_id`` is required where no tokenizer is loaded; ``min_tokens`` suppresses
only ``end_id``; an aborted result has another response, with the reason "cancelled".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import library_script as script

__version__ = "1.4.0rc1"


@dataclass(kw_only=True)
class SamplingParams:
    end_id: int | None = None
    pad_id: int | None = None
    max_tokens: int = 32
    bad_token_ids: list[int] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    ignore_eos: bool = False
    detokenize: bool = True


@dataclass
class CompletionOutput:
    index: int
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    _last_token_ids_len: int = 0

    @property
    def token_ids_diff(self) -> list[int]:
        return self.token_ids[self._last_token_ids_len :]


class RequestOutput:
    def __init__(self, params: SamplingParams, name: str) -> None:
        self.outputs = [CompletionOutput(0)]
        self.finished = False
        self.cached_tokens = 0
        self._params, self._name = params, name
        self._script = iter(script.ids)
        self._is_aborted = False
        script.running.add(name)

    def abort(self) -> None:
        self._is_aborted = True
        script.left.append(self._name)
        script.running.discard(self._name)

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        await asyncio.sleep(0)
        if script.broken:
            raise RuntimeError("the call broke\nsecond line")
        output, params = self.outputs[0], self._params
        output._last_token_ids_len = len(output.token_ids)
        self.cached_tokens = script.num_cached
        if self._is_aborted:
            return self._finish("cancelled")
        token_id = await self._sample(len(output.token_ids))
        output.token_ids.append(token_id)
        if token_id == params.end_id and not params.ignore_eos:
            return self._finish("stop")
        if token_id in (params.stop_token_ids or ()):
            if not params.include_stop_str_in_output:
                output.token_ids.pop()
            return self._finish("stop")
        return self._finish("length") if len(output.token_ids) >= params.max_tokens else self

    async def _sample(self, num_said: int) -> int:
        for token_id in self._script:
            is_held = token_id == self._params.end_id and num_said < (self._params.min_tokens or 0)
            if token_id not in (self._params.bad_token_ids or ()) and not is_held:
                return token_id
        await asyncio.Event().wait()  # nothing more comes
        raise AssertionError

    def _finish(self, reason: str) -> RequestOutput:
        self.finished = True
        self.outputs[0].finish_reason = reason
        script.running.discard(self._name)
        return self


class LoadFormat(Enum):
    AUTO = 0
    DUMMY = 1


class LLM:
    def __init__(
        self,
        model: str,
        skip_tokenizer_init: bool = False,
        tensor_parallel_size: int = 1,
        max_batch_size: int | None = 2048,
        load_format: str | LoadFormat = LoadFormat.AUTO,
        max_seq_len: int | None = None,
        enable_chunked_prefill: bool = False,
        kv_cache_config: Any = None,
    ) -> None:
        script.num_started += 1
        self.arguments = {"model": model, "max_seq_len": max_seq_len, "tensor_parallel_size": tensor_parallel_size}
        self.arguments["max_batch_size"] = max_batch_size
        self.arguments["load_format"] = LoadFormat[load_format.upper()] if isinstance(load_format, str) else load_format
        self.kv_cache_config = kv_cache_config
        self.params: list[SamplingParams] = []
        self.shut_down = False
        self._has_tokenizer = not skip_tokenizer_init

    def generate_async(self, inputs: list[int], sampling_params: SamplingParams | None = None, streaming: bool = False) -> RequestOutput:
        asyncio.get_running_loop()
        assert streaming and sampling_params is not None
        if sampling_params.end_id is None and not self._has_tokenizer:
            raise ValueError("tokenizer is required to reset end_id if it is None, or you can explicitly specify the end_id")
        self.params.append(sampling_params)
        return RequestOutput(sampling_params, f"call-{len(self.params) - 1}")

    def shutdown(self) -> None:
        self.shut_down = True
