# SPDX-License-Identifier: Apache-2.0
"""The version of the code that makes a training set: a digest of its files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from s1_client.evaluation import grading
from s1_client.evaluation.tasks import puzzles

_PACKAGE = Path(__file__).parent
_UNIMPORTANT = {"recipes"}  # a recipe is an input of its own


@cache
def digest_of_code() -> str:
    """Return a digest of this package's files, of the graders, and of the generators of puzzles."""
    names = sorted(path for suffix in ("*.py", "*.toml") for path in _PACKAGE.rglob(suffix) if path.parent.name not in _UNIMPORTANT)
    digest = hashlib.sha256()
    for path in [*names, *sorted(Path(grading.__file__).parent.glob("*.py")), Path(puzzles.__file__)]:
        digest.update(f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
