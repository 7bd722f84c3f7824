# SPDX-License-Identifier: Apache-2.0
"""What a TensorRT-LLM engine was built for, from its config.json."""

from __future__ import annotations

import json
from pathlib import Path

from budgetforce.engine.token_engine import ModelLimits
from budgetforce.errors import ConfigError


def engine_limits(engine_dir: Path) -> ModelLimits:
    """Read a TensorRT-LLM engine's limits from its config.json. Raises ConfigError."""
    return ModelLimits(
        vocab_size=_engine_setting(engine_dir, "pretrained_config", "vocab_size"),
        max_seq_len=_engine_setting(engine_dir, "build_config", "max_seq_len"),
    )


def engine_batch_size(engine_dir: Path) -> int:
    """Read how many sequences a TensorRT-LLM engine decodes concurrently. Raises ConfigError."""
    return _engine_setting(engine_dir, "build_config", "max_batch_size")


def _engine_setting(engine_dir: Path, part: str, name: str) -> int:
    path = engine_dir / "config.json"
    try:
        return int(json.loads(path.read_text())[part][name])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not name {part}.{name}: {error}") from error
