# SPDX-License-Identifier: Apache-2.0
"""Checks model files before they are loaded, and describes a fault in a sentence.

Common faults: a clone without Git LFS, whose large files are pointers of three lines; an incomplete download; a folder or
file of another kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from budgetforce.errors import ConfigError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # git-lfs, docs/spec.md: the first line of a pointer file
_GGUF_MAGIC = b"GGUF"  # ggml, docs/gguf.md
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


def check_gguf(path: Path) -> None:
    """Raise ConfigError if a file cannot be a GGUF file."""
    if not _start_of(path).startswith(_GGUF_MAGIC):
        raise ConfigError(f"{path} is no GGUF file: it does not begin with 'GGUF'")


def check_folder(folder: Path, weights: Iterable[str] = _WEIGHTS) -> None:
    """Raise ConfigError if a Hugging Face folder has no weights (files that match any pattern of ``weights``; without a
    pattern none are needed), or holds an unusable weights or JSON file.
    """
    patterns = tuple(weights)
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if patterns and not found:
        raise ConfigError(f"{folder} holds no weights ({', '.join(patterns)})")
    for path in [*found, *sorted(folder.glob("*.json"))]:
        _start_of(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises ConfigError if the file cannot be read or is not a JSON object."""
    _start_of(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a JSON object")
    return data


def _start_of(path: Path) -> bytes:
    """Return a file's first bytes. Raises ConfigError for an unreadable or empty file or a Git LFS pointer."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise ConfigError(f"{path} is empty")
    if start == _LFS_POINTER:
        raise ConfigError(f"{path} is only a Git LFS pointer: run 'git lfs pull' in {path.parent}, or download the file itself")
    return start
