# SPDX-License-Identifier: Apache-2.0
"""The git commit of the code that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def code_commit() -> str | None:
    """Return the commit of the code, with "-modified" behind it if files differ from it; None outside a git checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--match=", "--dirty=-modified"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip() or None
