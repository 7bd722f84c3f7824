# SPDX-License-Identifier: Apache-2.0
"""The command line ``python -m budgetforce.training STEP``: plan a training run, do it, evaluate its checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from budgetforce.building.__main__ import run_steps
from budgetforce.training import eval_command, plan_command, sft_command

STEPS = (plan_command, sft_command, eval_command)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m budgetforce.training") -> int:
    """Run a step and return its exit code: 1 with a sentence if it fails."""
    return run_steps(STEPS, arguments, prog, "Fine-tune a reasoning model on a published training set.")


if __name__ == "__main__":
    sys.exit(main())
