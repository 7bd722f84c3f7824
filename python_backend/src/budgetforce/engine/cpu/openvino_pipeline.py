# SPDX-License-Identifier: Apache-2.0
"""OpenVINO GenAI's continuous batching as a ``TokenPipeline``.

Traps, all measured: ``step()`` holds the GIL; an exception from it breaks the pipeline
permanently; ids outside the vocabulary and reused request ids are accepted and corrupt it (so all
calls are validated before); ``stop_token_ids`` end a call and, with ``min_new_tokens``, are masked:
a call uses them either to stop or to mask.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from budgetforce.engine.cpu.start_guard import StartGuard
from budgetforce.engine.token_engine import TokenCall

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # otherwise the import writes an id into HOME and sends telemetry

import openvino  # noqa: E402
import openvino_genai  # noqa: E402

BLOCK_SIZE = 32  # ids in a KV block of OpenVINO's CPU plug-in
# By default keys are quantised by channel over a block, so adding an id rewrites its whole block: two calls that add the
# same ids to a shared block at the same time corrupt it (about 1 of 1,000 such pairs on two threads). Without quantisation
# an id writes only its own row. Quantisation by token would also do so, but is less exact.
_KV_CACHE = {"KV_CACHE_PRECISION": "f16"}


class OpenVinoPipeline:
    """Implements ``TokenPipeline`` with OpenVINO GenAI.

    Args:
        model: a GGUF file in Q8_0 (OpenVINO misreads Q4_1 without an error).
        num_kv_blocks: size of the KV cache in blocks of 32 tokens.
        max_num_seqs: maximum number of calls computed in a step.
        max_num_batched_tokens: maximum number of prompt ids computed in a step; longer prompts are
            prefilled in chunks, so that running calls continue.
        precision: "f32" decodes faster and more accurately; "bf16" prefills faster on AMX.
    """

    block_size = BLOCK_SIZE

    def __init__(
        self, model: Path, *, num_kv_blocks: int, max_num_seqs: int = 256, max_num_batched_tokens: int = 256, precision: str = "f32"
    ) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = num_kv_blocks
        scheduler.enable_prefix_caching = True
        scheduler.max_num_seqs = max_num_seqs
        scheduler.max_num_batched_tokens = max_num_batched_tokens
        self.num_blocks = num_kv_blocks
        properties = {"INFERENCE_PRECISION_HINT": precision, **_KV_CACHE}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(model), scheduler, "CPU", properties)
        self._handles: dict[int, openvino_genai.GenerationHandle] = {}
        self._guard = StartGuard(block_size=BLOCK_SIZE, num_pool_blocks=num_kv_blocks)

    def may_add(self, key: int, call: TokenCall) -> bool:
        return self._guard.may_start(key, call.input_ids)

    def add(self, key: int, call: TokenCall) -> None:
        prompt = openvino.Tensor(np.array([call.input_ids], np.int64))  # [1, n]; int32 breaks the pipeline
        self._handles[key] = self._pipeline.add_request(key, prompt, _generation_config(call))
        self._guard.start(key, call.input_ids)

    def step(self) -> dict[int, list[int]]:
        self._pipeline.step()
        sampled = {key: ids for key, handle in self._handles.items() if (ids := self._read(key, handle))}
        self._guard.advance(sampled)
        return sampled

    def _read(self, key: int, handle: openvino_genai.GenerationHandle) -> list[int]:
        ids: list[int] = []
        while handle.can_read():
            for output in handle.read().values():
                ids += output.generated_ids
        if not ids and handle.get_status().name == "IGNORED":
            raise RuntimeError(f"call {key} was abandoned: out of KV cache")
        return ids

    def drop(self, key: int) -> None:
        del self._handles[key]  # deleting the handle stops the call
        self._guard.drop(key)

    def is_busy(self) -> bool:
        return bool(self._pipeline.has_non_finished_requests())

    def num_reused_ids(self, key: int) -> None:
        """Return None: OpenVINO does not report it; ``kv_blocks`` estimates it."""


def _generation_config(call: TokenCall) -> openvino_genai.GenerationConfig:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = call.max_new_tokens
    if call.num_masked_steps:
        config.min_new_tokens = call.num_masked_steps
        config.ignore_eos = True
        _set_stop_ids(config, call.masked_ids)
    elif call.single_stop_ids:
        _set_stop_ids(config, call.single_stop_ids)
    else:
        config.ignore_eos = True
    _set_sampling(config, call)
    return config


def _set_stop_ids(config: openvino_genai.GenerationConfig, ids: frozenset[int]) -> None:
    config.stop_token_ids = set(ids)
    config.eos_token_id = min(ids)  # if unset, OpenVINO adds the model's own


def _set_sampling(config: openvino_genai.GenerationConfig, call: TokenCall) -> None:
    sampling = call.sampling
    config.do_sample = call.is_sampled
    if config.do_sample:
        config.temperature = 1.0 if sampling.temperature is None else sampling.temperature
        config.top_k = sampling.top_k or 0
        config.top_p = 1.0 if sampling.top_p is None else sampling.top_p
        config.rng_seed = sampling.seed or 0
    config.repetition_penalty = 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty
    config.presence_penalty = sampling.presence_penalty or 0.0
    config.frequency_penalty = sampling.frequency_penalty or 0.0
