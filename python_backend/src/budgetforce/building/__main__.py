# SPDX-License-Identifier: Apache-2.0
"""The command line ``python -m budgetforce.building STEP``: build an engine step by step.

Each module of ``run_steps`` has ``add_parser(subparsers)``, which adds its sub-commands and sets ``run``, a function of the
parsed options that returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from typing import Protocol

from budgetforce.building import plan_command, step_commands
from budgetforce.errors import BudgetForceError

STEPS = (plan_command, step_commands)


class StepModule(Protocol):
    """A module that adds sub-commands to a command line."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser], /) -> None: ...


def main(arguments: Sequence[str] | None = None, prog: str = "python -m budgetforce.building") -> int:
    """Run a step of building an engine, and return its exit code."""
    return run_steps(STEPS, arguments, prog, "Build a TensorRT-LLM engine of s1-32B, step by step.")


def run_steps(modules: Sequence[StepModule], arguments: Sequence[str] | None, prog: str, description: str) -> int:
    """Run a step of some modules, and return its exit code.

    It is 1 with a sentence if the step fails, and 1 in silence if the reader of stdout has gone.
    """
    try:
        try:
            return _run(modules, arguments, prog, description)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _has_lost_reader():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout again at its exit
        return 1


def _run(modules: Sequence[StepModule], arguments: Sequence[str] | None, prog: str, description: str) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=description)
    subparsers = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for module in modules:
        module.add_parser(subparsers)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except BudgetForceError as error:
        print(error, file=sys.stderr)
        return 1


def _has_lost_reader() -> bool:
    """Whether stdout is a pipe whose reader has gone, as with ``| head``."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
