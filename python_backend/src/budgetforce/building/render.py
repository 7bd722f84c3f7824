# SPDX-License-Identifier: Apache-2.0
"""Render ``config.pbtxt`` of Triton model ``tensorrt_llm``, with NVIDIA's tensors and parameters.

The schema ``tensorrt_llm_config.json`` knows every parameter by name and kind. A parameter gets a value or, as None, is left
to the backend; a missing or unknown parameter is an error, so that no placeholder can remain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from budgetforce.building.spec import EngineSpec
from budgetforce.errors import ConfigError

MODEL = "tensorrt_llm"
MANIFEST_PARAMETER = "engine_manifest"  # a line for `s1 doctor`; the backend ignores parameters that it does not know
SCHEMA = Path(__file__).with_name("tensorrt_llm_config.json")
# Twice the most replies that s1 may run (budgetforce.launcher.admission.MOST_REPLIES), each with one engine call at a time: never full.
MAX_QUEUE_SIZE = 4096
CANCELLATION_CHECK_MS = 50  # a cancelled request stops the engine within 200 ms; s1 itself checks every 100 ms

Value = str | int | float | bool | None


def engine_parameters(spec: EngineSpec, engine_path: str) -> dict[str, Value]:
    """Return this project's value of every parameter of the backend; None = the backend's default."""
    chosen: dict[str, Value] = {
        "gpt_model_path": engine_path,
        "gpt_model_type": "inflight_fused_batching",
        "batch_scheduler_policy": "guaranteed_no_evict",  # a running sequence is never paused
        "max_beam_width": 1,  # KV blocks of wider beams are not reused
        "decoding_mode": "top_k_top_p",
        "enable_chunked_context": True,  # else a prompt longer than max_num_tokens is rejected, as continuations would be
        "enable_kv_cache_reuse": True,
        "kv_cache_free_gpu_mem_fraction": spec.kv_fraction,
        "exclude_input_in_output": True,
        "cancellation_check_period_ms": CANCELLATION_CHECK_MS,
        "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
        "executor_worker_path": "/opt/tritonserver/backends/tensorrtllm/trtllmExecutorWorker",
    }
    return {parameter["key"]: None for parameter in _schema()["parameters"]} | chosen


def render_config(spec: EngineSpec, parameters: Mapping[str, Value], manifest: str) -> str:
    """Return the text of the file; ``manifest`` becomes parameter ``engine_manifest``.

    Raises ConfigError for a parameter that is unknown or missing, or a value of the wrong kind.
    """
    entries = dict(_checked(parameters))
    text = "\n".join([*_head(spec, parameters, entries), *tensor_lines(), *_entries(entries | {MANIFEST_PARAMETER: manifest}), ""])
    if "${" in text:
        raise ConfigError(f"{MODEL}: an unfilled placeholder: {text[text.index('${') :].partition('}')[0]}}}")
    return text


def _head(spec: EngineSpec, parameters: Mapping[str, Value], entries: Mapping[str, str]) -> Iterator[str]:
    yield "# Rendered by budgetforce.building for one engine: do not edit, render it again."
    yield f"# Left to the backend: {', '.join(key for key in parameters if key not in entries)}"
    yield f'name: "{MODEL}"'
    yield 'backend: "tensorrtllm"'
    yield f"max_batch_size: {spec.max_batch_size}"
    yield "model_transaction_policy { decoupled: true }"
    yield "dynamic_batching {"
    yield f"  preferred_batch_size: [ {spec.max_batch_size} ]"
    yield "  max_queue_delay_microseconds: 0"
    yield f"  default_queue_policy {{ max_queue_size: {MAX_QUEUE_SIZE} }}"
    yield "}"
    yield "instance_group [ { count: 1 kind: KIND_CPU } ]"


def _checked(parameters: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    schema = {parameter["key"]: parameter for parameter in _schema()["parameters"]}
    for key in sorted(parameters.keys() ^ schema.keys()):
        raise ConfigError(f"{MODEL}: parameter '{key}' is {'missing' if key in schema else 'unknown'}")
    for key, parameter in schema.items():
        value, unset = parameters[key], parameter.get("unset", "left_out")
        if value is not None:
            yield key, _text(parameter, value)
        elif unset == "refused":
            raise ConfigError(f"{MODEL}: parameter '{key}' must have a value")
        elif unset == "empty":
            yield key, ""


def _text(parameter: Mapping[str, Any], value: object) -> str:
    allowed = parameter.get("allowed", [])
    if not (value in allowed if allowed else _KINDS[parameter["kind"]](value)):
        raise ConfigError(f"{MODEL}: parameter '{parameter['key']}': got {value!r}, allowed: {', '.join(allowed) or parameter['kind']}")
    return str(value).lower() if isinstance(value, bool) else str(value)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and value >= 0,
    "ints": lambda value: isinstance(value, str) and re.fullmatch(r"\d+(,\d+)*", value) is not None,
    "fraction": lambda value: type(value) in (int, float) and 0 <= value <= 1,
    "text": lambda value: isinstance(value, str) and value != "",
}


def tensor_lines() -> Iterator[str]:
    """Yield the ``input`` and ``output`` sections, which every engine model shares."""
    for side in ("input", "output"):
        yield f"{side} ["
        yield ",\n".join(f"  {{ {' '.join(_tensor(tensor))} }}" for tensor in _schema()[f"{side}s"])
        yield "]"


def _tensor(tensor: Mapping[str, Any]) -> Iterator[str]:
    yield f'name: "{tensor["name"]}" data_type: {tensor["data_type"]} dims: [ {", ".join(map(str, tensor["dims"]))} ]'
    if tensor.get("scalar"):
        yield "reshape: { shape: [ ] }"
    for key, field in (("optional", "optional"), ("ragged", "allow_ragged_batch")):
        if tensor.get(key):
            yield f"{field}: true"


def _entries(entries: Mapping[str, str]) -> Iterator[str]:
    for key, value in entries.items():
        yield f'parameters {{ key: "{key}" value: {{ string_value: {json.dumps(value, ensure_ascii=False)} }} }}'


@cache
def _schema() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(SCHEMA.read_text())
    return data
