# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the tensors of ``tensorrt_llm`` for the engines behind our shell.

An optional input is honoured, or accepted at the value that means "not used", or refused by name. None is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from budgetforce.engine.base import Sampling
from budgetforce.engine.tensors import Array, read_word_list
from budgetforce.engine.token_engine import KvUsage, TokenCall
from budgetforce.errors import InvalidRequest

# Inputs that these engines cannot honour, with the value that requests nothing.
NEUTRAL: dict[str, object] = {
    "beam_width": 1,
    "num_return_sequences": 1,
    "return_log_probs": False,
    "return_context_logits": False,
    "return_generation_logits": False,
    "early_stopping": False,
}
HONOURED = frozenset(
    (
        *("input_ids", "input_lengths", "request_output_len", "end_id", "pad_id", "stop_words_list", "bad_words_list"),
        *("temperature", "runtime_top_k", "runtime_top_p", "seed", "min_tokens"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty"),
        *("return_perf_metrics", "return_num_input_tokens", "return_num_output_tokens"),
        *("exclude_input_in_output", "stop", "streaming"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A request that has been parsed from tensors. ``stop`` = cancel the running request of the same id."""

    request_id: str
    call: TokenCall
    streaming: bool = False
    exclude_input: bool = False
    return_perf_metrics: bool = False
    return_num_input_tokens: bool = False
    return_num_output_tokens: bool = False
    stop: bool = False

    def outputs(self, ids: tuple[int, ...]) -> dict[str, Array]:
        """Return the output tensors for ``ids``: alone when streaming or if the prompt is excluded, else behind the prompt."""
        sent = ids if self.streaming or self.exclude_input else (*self.call.input_ids, *ids)
        outputs: dict[str, Array] = {
            "output_ids": np.array([[sent]], np.int32),  # [1, beams, n]
            "sequence_length": np.array([[len(sent)]], np.int32),
        }
        if self.return_num_input_tokens:
            outputs["num_input_tokens"] = np.array([[len(self.call.input_ids)]], np.int32)
        if self.return_num_output_tokens:
            outputs["num_output_tokens"] = np.array([[len(ids)]], np.int32)
        return outputs


@dataclass(slots=True)
class PerfMetrics:
    """Measurements for ``return_perf_metrics``; times on ``time.monotonic_ns()``'s clock."""

    usage: KvUsage
    arrived_ns: int
    first_token_ns: int = 0
    last_token_ns: int = 0

    def record_ids(self, now_ns: int) -> None:
        """Record that ids came at ``now_ns``."""
        self.last_token_ns = now_ns
        self.first_token_ns = self.first_token_ns or now_ns

    def outputs(self) -> dict[str, Array]:
        """Return the output tensors of the measurements."""
        usage = self.usage
        blocks = {
            "kv_cache_alloc_new_blocks": usage.num_total_blocks - usage.num_reused_blocks,
            "kv_cache_reused_blocks": usage.num_reused_blocks,
            "kv_cache_alloc_total_blocks": usage.num_total_blocks,
        }
        times = {
            "arrival_time_ns": self.arrived_ns,
            "first_token_time_ns": self.first_token_ns,
            "last_token_time_ns": self.last_token_ns,
        }
        return {name: np.array([[value]], np.int32) for name, value in blocks.items()} | {
            name: np.array([[value]], np.int64) for name, value in times.items()
        }


def read_engine_request(request_id: str, inputs: Mapping[str, Array]) -> EngineRequest:
    """Parse the tensors of a request. Raises InvalidRequest naming a tensor that cannot be honoured."""
    _refuse_unsupported_inputs(inputs)
    num_ids = _scalar(inputs, "input_lengths", 0)
    ids = inputs["input_ids"].reshape(-1).tolist() if "input_ids" in inputs else []
    stop = bool(_scalar(inputs, "stop", False))
    if not stop and not 1 <= num_ids <= len(ids):
        raise InvalidRequest("input_lengths", num_ids, f"1 to {len(ids)}, the length of input_ids")
    end_id = _scalar(inputs, "end_id", -1)
    call = TokenCall(
        input_ids=tuple(ids[:num_ids]),
        max_new_tokens=_scalar(inputs, "request_output_len", 0),
        end_id=None if end_id < 0 else end_id,
        stop_words=_words(inputs, "stop_words_list"),
        min_tokens=_scalar(inputs, "min_tokens", 0),
        sampling=_sampling(inputs),
    )
    flags = {name: bool(_scalar(inputs, name, False)) for name in HONOURED if name.startswith("return_")}
    return EngineRequest(
        request_id=request_id,
        call=call,
        streaming=bool(_scalar(inputs, "streaming", False)),
        exclude_input=bool(_scalar(inputs, "exclude_input_in_output", False)),
        stop=stop,
        **flags,
    )


def _refuse_unsupported_inputs(inputs: Mapping[str, Array]) -> None:
    for name, array in inputs.items():
        if name in HONOURED:
            continue
        if name not in NEUTRAL:
            raise InvalidRequest(name, "a value", "nothing: this engine does not have this feature")
        value = array.reshape(-1)[0].item()
        if value != NEUTRAL[name]:
            raise InvalidRequest(name, value, f"{NEUTRAL[name]} (this engine does not have this feature)")


def _sampling(inputs: Mapping[str, Array]) -> Sampling:
    def read(name: str, is_allowed: Any, allowed: str) -> Any:
        value = _scalar(inputs, name, None)
        if value is not None and not (math.isfinite(value) and is_allowed(value)):
            raise InvalidRequest(name, value, allowed)
        return value

    return Sampling(
        temperature=read("temperature", lambda v: v > 0, "a number > 0 (greedy is runtime_top_k 1)"),
        top_k=read("runtime_top_k", lambda v: v >= 0, "an integer >= 0"),
        top_p=read("runtime_top_p", lambda v: 0 < v <= 1, "0 < runtime_top_p <= 1"),
        seed=read("seed", lambda _: True, "an unsigned integer"),
        repetition_penalty=read("repetition_penalty", lambda v: v > 0, "a number > 0"),
        presence_penalty=read("presence_penalty", lambda v: -2 <= v <= 2, "-2 to 2"),
        frequency_penalty=read("frequency_penalty", lambda v: -2 <= v <= 2, "-2 to 2"),
        bad_words=_words(inputs, "bad_words_list"),
    )


def _words(inputs: Mapping[str, Array], name: str) -> tuple[tuple[int, ...], ...]:
    if name not in inputs:
        return ()
    try:
        return read_word_list(inputs[name])
    except ValueError as error:
        raise InvalidRequest(name, inputs[name].tolist(), f"[1, 2, n]: {error}") from error


def _scalar(inputs: Mapping[str, Array], name: str, default: Any) -> Any:
    array = inputs.get(name)
    return default if array is None or array.size == 0 else array.reshape(-1)[0].item()
