# SPDX-License-Identifier: Apache-2.0
"""Sub-commands ``download``, ``convert``, ``build``, ``render`` and ``verify``, and ``all`` of them."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from budgetforce.building.commands import Tools
from budgetforce.building.options import add_spec_options, spec_of
from budgetforce.errors import ConfigError

HELP = {
    "download": "download the weights and check each file against the hub's SHA-256; continues where it stopped",
    "convert": "make a TensorRT-LLM checkpoint; fp8 and int4-awq are quantised here",
    "build": "build the engine, on the GPUs that will serve it",
    "render": "write Triton's config.pbtxt of the engine",
    "verify": "check that engine, tokenizer, manifest and config fit each other",
    "all": "run all steps, except those that are already done",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add one sub-command per step to a command line."""
    tools = Tools()
    for step, text in HELP.items():
        parser = subparsers.add_parser(step, help=text, description=f"{step}: {text}.")
        parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="work folder, in which everything is made and kept")
        add_spec_options(parser)
        repository_help = "model repository that gets the config (default: %(default)s)"
        parser.add_argument("--model-repository", type=Path, default=Path("model_repository"), metavar="DIR", help=repository_help)
        parser.add_argument("--engine-path", default="", metavar="PATH", help="the engine's path for the server (default: WORK/engine)")
        parser.add_argument(
            "--examples",
            type=Path,
            default=tools.examples,
            metavar="DIR",
            help="folder with TensorRT-LLM's examples (default: %(default)s)",
        )
        parser.add_argument(
            "--calibration", default=tools.calibration, help="data set for quantising: a name or a folder (default: %(default)s)"
        )
        parser.add_argument("--skip-plan", action="store_true", help="build even if the plan says that the engine does not fit these GPUs")
        parser.add_argument("--dry-run", action="store_true", help="print the commands without running them")
        if step == "verify":
            parser.add_argument("--live", metavar="URL", help="also check a running server: s1 doctor --url URL")
        parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about the missing PyTorch, which tokenizers do not need
    from budgetforce.building.pipeline import STEPS, Build  # imports transformers, which takes seconds

    tools = Tools(examples=options.examples.resolve(), calibration=_calibration(options.calibration))
    build = Build(spec_of(options), options.work, options.model_repository, tools, options.engine_path, options.skip_plan)
    steps = STEPS if options.step == "all" else (options.step,)
    if options.dry_run:
        print("\n".join(build.dry_run(steps)))
        return 0
    try:
        build.run(steps)
    except KeyboardInterrupt:
        return 130
    return _doctor(options.live) if getattr(options, "live", None) else 0


def _calibration(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).is_dir() or Path(name).is_absolute() else name


def _doctor(url: str) -> int:
    command = shutil.which("s1")
    if command is None:
        raise ConfigError("command s1 is not installed: pip install './client[cli]'")
    return subprocess.call([command, "doctor", "--url", url])
