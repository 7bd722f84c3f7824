# SPDX-License-Identifier: Apache-2.0
"""What is wrong with files that are to be a model, in a sentence, before anything loads them.

The usual ones: a clone without Git LFS, whose large files are pointers of three lines; a download that was cut off; a folder
or a file that is something else.
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
    """Raise ConfigError if a Hugging Face folder has no weights (files that match one of these patterns), or holds a file
    that is none.
    """
    found = [path for pattern in weights for path in sorted(folder.glob(pattern))]
    if not found:
        raise ConfigError(f"{folder} holds no weights ({', '.join(weights)})")
    for path in [*found, *sorted(folder.glob("*.json"))]:
        _start_of(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file. Raises ConfigError if it cannot be read, or is none."""
    _start_of(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a JSON object")
    return data


def _start_of(path: Path) -> bytes:
    """The first bytes. Raises ConfigError for a file that cannot be read, is empty, or only points to one."""
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
