# SPDX-License-Identifier: Apache-2.0
"""Sub-commands: one for each stage of the data pipeline, ``card`` and ``verify``, and ``all`` of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from budgetforce.errors import ConfigError

HELP = {
    "collect": "gather questions from files, data sets of the hub and generators",
    "trace": "let the teacher think about each question",
    "grade": "compare the teacher's answers with the expected answers",
    "features": "find domain, length of the thought and verdicts of weak models",
    "decontaminate": "drop questions that share word n-grams with a test set, or are held out",
    "select": "select rows by quality, difficulty and diversity",
    "render": "write the training text with its ids and loss mask",
    "card": "write the published set: parquet, dataset.json, README.md and figures",
    "verify": "check the published set",
    "all": "run all steps, except those that are already done",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add one sub-command per step to a command line."""
    for step, text in HELP.items():
        parser = subparsers.add_parser(step, help=text, description=f"{step}: {text}.")
        parser.add_argument(
            "--recipe", required=True, metavar="NAME|FILE", help=f"bundled recipe ({', '.join(_recipes())}), or a TOML file"
        )
        parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="work folder, in which everything is made and kept")
        parser.add_argument("--limit", type=_positive, metavar="N", help="take at most N rows of each source, for a trial (default: all)")
        if step == "all":
            parser.add_argument("--until", choices=list(HELP)[:-1], metavar="STEP", default="verify", help="last step (default: verify)")
        parser.add_argument("--dry-run", action="store_true", help="print rows, tokens, calls and cost of each step; write nothing")
        parser.set_defaults(run=_run)


def _recipes() -> list[str]:
    return sorted(path.stem for path in (Path(__file__).with_name("recipes")).glob("*.toml"))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed: an integer >= 1")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    try:
        from budgetforce.curating.recipe import load_recipe
        from budgetforce.curating.runner import STEPS, Pipeline
    except ModuleNotFoundError as error:  # of the extra packages
        raise ConfigError(f"package {error.name} is missing: pip install './client[eval]' './python_backend[data]'") from None
    pipeline = Pipeline(load_recipe(options.recipe), options.work, options.limit)
    steps = STEPS[: STEPS.index(options.until) + 1] if options.step == "all" else (options.step,)
    if options.dry_run:
        from budgetforce.curating.dry_run import dry_run

        print("\n".join(dry_run(pipeline, steps)))
        return 0
    try:
        return pipeline.run(steps)
    except KeyboardInterrupt:
        return 130
