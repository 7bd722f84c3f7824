# SPDX-License-Identifier: Apache-2.0
"""The command line ``python -m budgetforce.curating STEP``: make a training set step by step."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from budgetforce.building.__main__ import run_steps
from budgetforce.curating import commands


def main(arguments: Sequence[str] | None = None, prog: str = "python -m budgetforce.curating") -> int:
    """Run a step and return its exit code: 1 with a sentence if it fails."""
    return run_steps((commands,), arguments, prog, "Make a training set from questions, step by step.")


if __name__ == "__main__":
    sys.exit(main())
