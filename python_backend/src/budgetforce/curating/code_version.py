# SPDX-License-Identifier: Apache-2.0
"""The version of the code that makes a training set: a digest of its files, and the git commit."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from s1_client.evaluation.tasks import puzzles

_PACKAGE = Path(__file__).parent
_UNIMPORTANT = {"recipes"}  # a recipe is an input of its own


@cache
def digest_of_code() -> str:
    """Return a digest of this package's files and of the generators of puzzles."""
    names = sorted(path for suffix in ("*.py", "*.toml") for path in _PACKAGE.rglob(suffix) if path.parent.name not in _UNIMPORTANT)
    digest = hashlib.sha256()
    for path in [*names, Path(puzzles.__file__)]:
        digest.update(f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def commit() -> str | None:
    """Return the git commit of the code, with "-modified" if files differ from it; None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    found = [_output(git, "rev-parse", "HEAD"), _output(git, "status", "--porcelain", "--untracked-files=no", ".")]
    return None if found[0] is None else found[0] + ("-modified" if found[1] else "")


def _output(git: str, *arguments: str) -> str | None:
    result = subprocess.run([git, "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None
