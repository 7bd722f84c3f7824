# SPDX-License-Identifier: Apache-2.0
"""Sub-command ``eval``: serve a checkpoint with the embedded engine, and measure it with ``s1 eval``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from budgetforce.errors import ConfigError
from budgetforce.processes import die_with_parent

RESULTS = "eval"
# Budgets, and refused ends at each of them, on puzzles that no training set holds: more than the line of Figure 1 of the s1 paper.
DEFAULT_OPTIONS = (
    "puzzles",
    "--max-thinking-tokens",
    "0,16,32,64,-1",
    "--num-ignore",
    "0,1,2,4",
    "--temperature",
    "0",
    "--max-tokens",
    "64",
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add sub-command ``eval`` to a command line."""
    text = "serve WORK/checkpoint with the embedded engine and run s1 eval on it; the results are WORK/eval"
    default = " ".join(DEFAULT_OPTIONS)
    parser = subparsers.add_parser("eval", help=text, description=f"eval: {text}.", epilog=f"Without options of s1 eval: {default}")
    parser.add_argument("--work", required=True, type=Path, metavar="WORK", help="folder that sub-command sft has written")
    root = "folder of this project, which holds model_repository (default: the working directory)"
    parser.add_argument("--root", default=Path(), type=Path, metavar="DIR", help=root)
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="TASK OPTION...", help="a task, then options of s1 eval")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    command = eval_command(options.work, options.options, options.root)
    return subprocess.run(command, check=False, preexec_fn=die_with_parent).returncode


def eval_command(work: Path, options: Sequence[str], root: Path = Path()) -> list[str]:
    """Return the command that serves a checkpoint on free ports and evaluates it. Raises ConfigError if there is none.

    root: folder of this project; ``work`` and the files of ``options`` may lie elsewhere.
    """
    checkpoint = work / "checkpoint"
    if not (checkpoint / "config.json").is_file():
        raise ConfigError(f"{checkpoint} holds no checkpoint: run sub-command sft first")
    ports = [part for name in ("http", "grpc", "metrics") for part in (f"--{name}-port", "0")]
    places = {"model-repository": "model_repository", "cache": ".s1/models", "log": ".s1/triton.log"}
    ours = [part for name, path in places.items() for part in (f"--{name}", str(root / path))]
    serve = [sys.executable, "-m", "budgetforce.launcher", "--model", str(checkpoint.resolve()), "--preset", "s1", *ports, *ours]
    client = str(Path(sys.executable).with_name("s1"))
    return [*serve, "--", client, "eval", *(options or DEFAULT_OPTIONS), "--out", str((work / RESULTS).resolve())]
