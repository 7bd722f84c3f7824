# SPDX-License-Identifier: Apache-2.0
"""Converts engine calls to tensors of ``tensorrt_llm``, batch size 1, and responses back.

Names, types and shapes follow NVIDIA's inflight_batcher_llm/tensorrt_llm/config.pbtxt. Because
of its ending rules ``end_id`` stays unset and every terminator is sent in ``stop_words_list``: the
engine returns a stop word that ends a call, but not an ``end_id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from budgetforce.engine.base import EngineCall, EngineDelta
from budgetforce.errors import EngineFailed

Array = npt.NDArray[Any]

OUTPUTS = ("output_ids", "sequence_length", "kv_cache_reused_blocks")


def call_tensors(call: EngineCall) -> dict[str, Array]:
    """Return the input tensors of a streamed call."""
    tensors: dict[str, Array] = {
        "input_ids": np.array([call.input_ids], np.int32),  # [1, n]
        "input_lengths": _scalar(len(call.input_ids), np.int32),
        "request_output_len": _scalar(call.max_new_tokens, np.int32),
        "stop_words_list": _words((), call.stop_ids),
        "streaming": _scalar(True, np.bool_),
        "return_perf_metrics": _scalar(True, np.bool_),
    }
    if call.min_tokens:
        tensors["min_tokens"] = _scalar(call.min_tokens, np.int32)
    if call.sampling.bad_words or call.banned_ids:
        tensors["bad_words_list"] = _words(call.sampling.bad_words, call.banned_ids)
    return tensors | _sampling_tensors(call)


def stop_tensors() -> dict[str, Array]:
    """Return the input tensors that stop the running call with the same request id."""
    names = {"input_ids": 0, "input_lengths": 1, "request_output_len": 1}
    return {name: _scalar(value, np.int32) for name, value in names.items()} | {"stop": _scalar(True, np.bool_)}


def _sampling_tensors(call: EngineCall) -> dict[str, Array]:
    sampling = call.sampling
    greedy = sampling.temperature == 0  # the engine has no temperature 0; top-k 1 is greedy
    top_p = sampling.top_p
    if sampling.temperature and not sampling.top_k and top_p is None:
        top_p = 1.0  # with neither top-k nor top-p the engine is greedy whatever the temperature
    values = {
        "temperature": (None if greedy else sampling.temperature, np.float32),
        "runtime_top_k": (1 if greedy else sampling.top_k, np.int32),
        "runtime_top_p": (None if greedy else top_p, np.float32),
        "seed": (sampling.seed, np.uint64),
        "repetition_penalty": (sampling.repetition_penalty, np.float32),
        "presence_penalty": (sampling.presence_penalty, np.float32),
        "frequency_penalty": (sampling.frequency_penalty, np.float32),
    }
    return {name: _scalar(value, dtype) for name, (value, dtype) in values.items() if value is not None}


def read_delta(outputs: Mapping[str, Array]) -> EngineDelta:
    """Return the new ids of a streamed response: the first ``sequence_length`` [1, 1] of ``output_ids`` [1, 1, n].

    Raises EngineFailed if there are fewer.
    """
    num_ids = int(outputs["sequence_length"].flat[0])
    if not 0 <= num_ids <= outputs["output_ids"].size:
        raise EngineFailed(f"the engine broke its contract: sequence_length {num_ids} for {outputs['output_ids'].size} ids")
    ids = tuple(int(token_id) for token_id in outputs["output_ids"].flat[:num_ids])
    reused = outputs.get("kv_cache_reused_blocks")
    return EngineDelta(ids=ids, kv_reused_blocks=None if reused is None else int(reused.flat[0]))


def word_list(words: Iterable[Sequence[int]]) -> Array:
    """Return id sequences as int32 [1, 2, n]: row 0 holds all ids, padded with 0; row 1 their cumulative ends, padded with -1."""
    sequences = [tuple(word) for word in words]
    ids = [token_id for word in sequences for token_id in word]
    ends = np.cumsum([len(word) for word in sequences], dtype=np.int32)
    width = max(len(ids), len(ends))
    rows = np.zeros((1, 2, width), np.int32)
    rows[0, 0, : len(ids)] = ids
    rows[0, 1, :] = -1
    rows[0, 1, : len(ends)] = ends
    return rows


def read_word_list(rows: Array) -> tuple[tuple[int, ...], ...]:
    """Return the sequences of a ``word_list`` tensor. Raises ValueError for ends that do not rise or lie outside row 0."""
    flat = rows.reshape(2, -1)
    ids, ends = [int(i) for i in flat[0]], [int(end) for end in flat[1] if end >= 0]
    starts = [0, *ends[:-1]]
    if any(end <= start for start, end in zip(starts, ends, strict=False)) or (ends and ends[-1] > len(ids)):
        raise ValueError("row 1 must hold rising ends within row 0, then -1")
    return tuple(tuple(ids[start:end]) for start, end in zip(starts, ends, strict=False))


@lru_cache(maxsize=64)  # the same few sets in every call: 399 rows without a token, thousands of ids that end a sentence
def _words(words: tuple[tuple[int, ...], ...], ids: frozenset[int]) -> Array:
    return word_list([*words, *((token_id,) for token_id in sorted(ids))])


def _scalar(value: object, dtype: npt.DTypeLike) -> Array:
    return np.array([[value]], dtype)  # [1, 1]
