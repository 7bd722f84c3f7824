# SPDX-License-Identifier: Apache-2.0
"""``download``, ``convert``, ``build``, ``render``, ``verify``, and ``all`` of them."""

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
    "download": "the weights, each file checked against the hub's SHA-256; goes on where it stopped",
    "convert": "a TensorRT-LLM checkpoint; fp8 and int4-awq are quantised here",
    "build": "the engine, on the GPUs that will serve it",
    "render": "Triton's config.pbtxt of the engine",
    "verify": "that engine, tokenizer, manifest and config fit each other",
    "all": "all of these; what is done is not done again",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """A sub-command a step."""
    tools = Tools()
    for step, text in HELP.items():
        parser = subparsers.add_parser(step, help=text, description=f"{step}: {text}.")
        parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="where everything is made and kept")
        add_spec_options(parser)
        parser.add_argument("--model-repository", type=Path, default=Path("model_repository"), metavar="DIR")
        parser.add_argument("--engine-path", default="", metavar="PATH", help="where the server will see the engine (default: DIR/engine)")
        parser.add_argument("--examples", type=Path, default=tools.examples, metavar="DIR", help="TensorRT-LLM's (default: %(default)s)")
        parser.add_argument("--calibration", default=tools.calibration, help="data set for quantising, or a folder (default: %(default)s)")
        parser.add_argument("--skip-plan", action="store_true", help="build it even if by the plan it does not fit these GPUs")
        parser.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
        if step == "verify":
            parser.add_argument("--live", metavar="URL", help="ask a running server as well: s1 doctor --url URL")
        parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # of PyTorch, which tokenizers do not need
    from budgetforce.building.pipeline import STEPS, Build  # with transformers, for which the other commands need not wait

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
