# SPDX-License-Identifier: Apache-2.0
"""The command line ``python -m budgetforce.training STEP``: plan a training run, do it, evaluate its checkpoint.

Each module in ``STEPS`` has ``add_parser(subparsers)``, which adds a sub-command and sets ``run``, a function of the parsed
options that returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from budgetforce.errors import BudgetForceError
from budgetforce.training import eval_command, plan_command, sft_command

STEPS = (plan_command, sft_command, eval_command)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m budgetforce.training") -> int:
    """Run a step and return its exit code: 1 with a sentence if it fails."""
    parser = argparse.ArgumentParser(prog=prog, description="Fine-tune a reasoning model on a published training set.")
    subparsers = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for step in STEPS:
        step.add_parser(subparsers)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except BudgetForceError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
