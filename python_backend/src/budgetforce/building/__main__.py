# SPDX-License-Identifier: Apache-2.0
"""From weights to an engine, step by step: ``python -m budgetforce.building STEP``.

Each step is a module with ``add_parser(subparsers)``, which makes its parser and sets ``run``,
a function of the parsed options that returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence

from budgetforce.building import plan_command, step_commands
from budgetforce.errors import BudgetForceError

STEPS = (plan_command, step_commands)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m budgetforce.building") -> int:
    """Run one step; its exit code, 1 with one sentence if it cannot be done, and 1 without a word if nobody reads stdout any more."""
    try:
        try:
            return _run(arguments, prog)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _has_lost_reader():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more when it ends
        return 1


def _run(arguments: Sequence[str] | None, prog: str) -> int:
    parser = argparse.ArgumentParser(prog=prog, description="Build a TensorRT-LLM engine of s1-32B, step by step.")
    subparsers = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for step in STEPS:
        step.add_parser(subparsers)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except BudgetForceError as error:
        print(error, file=sys.stderr)
        return 1


def _has_lost_reader() -> bool:
    """Whether stdout is a pipe that nobody reads any more, as that of ``| head`` is."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
