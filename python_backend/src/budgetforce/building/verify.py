# SPDX-License-Identifier: Apache-2.0
"""Check a finished build without a server: engine, tokenizer, manifest and Triton's config must agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from budgetforce.building import manifest
from budgetforce.building.render import engine_parameters, render_config
from budgetforce.building.spec import ARCHITECTURE, TENSORRT_LLM_VERSION, EngineSpec, ModelShape
from budgetforce.errors import ConfigError
from budgetforce.presets import Preset
from budgetforce.text.tokenizer import ChatTokenizer

# Ids of Qwen2 and Qwen2.5; if a token of the model preset has another id, the tokenizer is another model's.
KNOWN_IDS = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
_PARAMETER = re.compile(r'^parameters \{ key: "([^"]+)" value: \{ string_value: (".*") \} \}$', re.M)
SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")


def problems(spec: EngineSpec, engine: Path, tokenizer: Path, config: Path, engine_path: str) -> Iterator[str]:
    """Yield each problem as a sentence; ``config`` is Triton's, ``engine_path`` the engine's path for the server."""
    checks = (
        _manifest_problems(spec, engine, tokenizer),
        _engine_problems(spec, engine, tokenizer),
        _tokenizer_problems(spec, tokenizer),
        _config_problems(spec, engine, config, engine_path),
    )
    for check in checks:
        try:
            yield from check
        except ConfigError as error:  # a file that cannot be read
            yield str(error.args[0])


def _manifest_problems(spec: EngineSpec, engine: Path, tokenizer: Path) -> Iterator[str]:
    made = manifest.read(engine)
    if made.tensorrt_llm != TENSORRT_LLM_VERSION:
        yield f"TensorRT-LLM: found {made.tensorrt_llm}, expected {TENSORRT_LLM_VERSION}"
    if made.variant != spec.variant:
        yield f"variant: found {made.variant}, expected {spec.variant}"
    yield from map(str, manifest.against_spec(made, spec))
    yield from map(str, manifest.against_config(made, engine))
    yield from map(str, manifest.against_files(made, engine))
    yield from map(str, manifest.against_tokenizer(made, tokenizer))
    yield from map(str, manifest.against_record(made, tokenizer))


def _engine_problems(spec: EngineSpec, engine: Path, tokenizer: Path) -> Iterator[str]:
    """Check the part of the engine's config.json that the manifest lacks (EngineConfig.to_dict in tensorrt_llm/builder.py @008b2b8)."""
    found = _read_config(engine)
    shape = ModelShape.read(tokenizer)
    model, build = "pretrained_config", "build_config"
    expected: dict[tuple[str, ...], object] = {
        (model, "architecture"): ARCHITECTURE,
        (model, "mapping", "world_size"): spec.tp,
        (model, "mapping", "pp_size"): 1,
        (model, "quantization", "kv_cache_quant_algo"): None,
        (build, "max_beam_width"): 1,
        (build, "kv_cache_type"): "PAGED",
        **{(model, name): getattr(shape, name) for name in SHAPE},
    }
    for keys, value in expected.items():
        actual: Any = found
        for key in keys:
            actual = actual.get(key) if isinstance(actual, dict) else None
        if keys[-1] == "kv_cache_type":  # an enum, which versions write in different ways
            actual = str(actual).upper().rpartition(".")[2]
        if actual != value:
            yield f"{engine / 'config.json'}: {'.'.join(keys)}: found {actual!r}, expected {value!r}"


def _read_config(engine: Path) -> dict[str, Any]:
    path = engine / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return config


def _tokenizer_problems(spec: EngineSpec, folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist: run download first, or all")
    tokenizer, preset = ChatTokenizer.load(folder), Preset.load(spec.preset)
    num_rows = ModelShape.read(folder).vocab_size
    preset.terminator_ids(tokenizer.encode_marker)  # each a single token, or it raises
    for text in sorted({*preset.thinking.terminators, *preset.answer.terminators}):
        (found,) = tokenizer.encode_marker(text)
        if text in KNOWN_IDS and found != KNOWN_IDS[text]:
            yield f"{folder}: {text} is token {found}, expected {KNOWN_IDS[text]}"
        if found >= num_rows:
            yield f"{folder}: {text} is token {found}, and the model has {num_rows} rows"


def _config_problems(spec: EngineSpec, engine: Path, path: Path, engine_path: str) -> Iterator[str]:
    """Yield differences of Triton's config from the output of ``render``: parameters by name, else by line. Comments may differ."""
    found = read_config(path)
    expected = render_config(spec, engine_parameters(spec, engine_path), manifest.summary(manifest.read(engine)))
    actual = config_parameters(found)
    for key, value in config_parameters(expected).items():
        if actual.get(key) != value:
            yield f"{path}: parameter {key}: found {actual.get(key)!r}, expected {value!r}: render it again"
    others = ([line for line in text.split("\n") if not (_PARAMETER.fullmatch(line) or line.startswith("#"))] for text in (found, expected))
    for found_line, expected_line in zip_longest(*others):
        if found_line != expected_line:
            yield f"{path}: differs from the output of render: found {found_line!r}, expected {expected_line!r}: render it again"
            return


def read_config(path: Path) -> str:
    """Read Triton's config of a model. Raises ConfigError if the file is missing or not text."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def config_parameters(text: str) -> dict[str, str]:
    """Parse the parameters of a config that ``render`` wrote, one on each line."""
    return {key: json.loads(value) for key, value in (match.groups() for match in _PARAMETER.finditer(text))}
