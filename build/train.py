#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fine-tune a reasoning model on a training set that build/data.py has made.

    python3 build/train.py plan --recipe s1-32b --gpus 16xH100      memory, steps and hours, before anything is installed
    python3 build/train.py sft --recipe tiny --data SET --work DIR  train; again after a kill: it continues; --eval: then eval
    python3 build/train.py eval --work DIR [TASK OPTION…]           serve DIR/checkpoint, measure it by budget, draw the curve
    python3 build/train.py setup [--cuda]                           only make the environment; --cuda: on a machine without a GPU
    python3 build/train.py lock                                     resolve its packages anew, into build/train.lock

`sft` runs in an environment of its own, .s1/train, which is made on first use from the versions in build/train.lock. PyTorch
is installed for CUDA where there is an NVIDIA driver, else for the CPU. On several GPUs: build/slurm/train.sbatch,
build/sky/train.yaml, or on one machine .s1/train/bin/torchrun --nproc-per-node 8 build/train.py sft ….
Standard library only: this file runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import local  # build/local.py

ENV = local.STATE / "train"
PYTHON = ENV / "bin" / "python"
STAMP = ENV / "installed"
LOCK = "build/train.lock"
# 2.13 is the version that the recipes were tried with. The CPU build, torch==2.13.0+cpu, satisfies the same line of the lock.
LOCK_LIMITS = "torch<2.14\n"
PACKAGES = ("-e", "python_backend[train]")


def main(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    if command in ("", "-h", "--help", "help"):
        print(__doc__, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if command in ("lock", "setup"):
        local.use_supported_python()
        os.chdir(local.ROOT)
        return lock() if command == "lock" else setup(arguments[1:])
    if command == "eval":
        return evaluate(arguments)
    if command == "sft" and importlib.util.find_spec("trl") is None:  # else this is an environment for training, as under torchrun
        return train(arguments)
    sys.path.insert(0, str(local.ROOT / "python_backend" / "src"))
    return int(importlib.import_module("budgetforce.training.__main__").main(prog="build/train.py"))


def train(arguments: list[str]) -> int:
    """Continue in the environment for training."""
    prepare(setup)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on two busy cores take five times as long as one
    command = [str(PYTHON), __file__, *(argument for argument in arguments if argument != "--eval")]
    if "--eval" not in arguments or "--dry-run" in arguments:
        local.become(command)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--work", default="")
    work = parser.parse_known_args(arguments)[0].work
    return subprocess.call(command) or evaluate(["eval", "--work", work])


def evaluate(arguments: list[str]) -> NoReturn:
    """Continue in the environment of build/local.py, which has the engine and the client."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about the missing PyTorch, which is not needed
    prepare(local.make_environment)
    local.become([str(local.PYTHON), "-m", "budgetforce.training", "eval", "--root", str(local.ROOT), *arguments[1:]])


def prepare(make: Callable[[], object]) -> None:
    """Make an environment, and return to the folder that paths on the command line are relative to."""
    local.use_supported_python()
    folder = Path.cwd()
    os.chdir(local.ROOT)
    make()
    os.chdir(folder)


def setup(options: Sequence[str] = ()) -> int:
    """Make the environment if it is not the lock's. Where there is no GPU, one for CUDA is as good as one for the CPU."""
    if unknown := set(options) - {"--cuda"}:
        local.stop(f"setup: got {', '.join(sorted(unknown))}, allowed: --cuda", code=2)
    build = "cuda" if options or shutil.which("nvidia-smi") else "cpu"
    if STAMP.is_file() and STAMP.read_text() in (f"{build} {fingerprint()}", f"cuda {fingerprint()}"):
        return 0
    print("Setting up .s1/train (once):", file=sys.stderr)
    shutil.rmtree(ENV, ignore_errors=True)
    local.step("Python environment", [sys.executable, "-m", "venv", str(ENV)])
    if not any(local.step(title, command, is_required=False) for title, command in installs(build)):
        local.stop(f"PyTorch and TRL cannot be installed into {ENV}")
    STAMP.write_text(f"{build} {fingerprint()}")
    return 0


def installs(build: str) -> list[tuple[str, list[str]]]:
    """Return the commands that install the packages, the preferred first."""
    packages = ["install", "--constraint", LOCK, *PACKAGES]
    with_pip = ("PyTorch and TRL (pip)", [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *packages])
    uv = local.find_uv() if local.PYTHON.exists() else local.find_uv(ENV)
    if uv is None:
        return [with_pip]
    with_uv = [uv, "pip", *packages, "--python", str(PYTHON)]
    if build == "cuda":
        return [("PyTorch and TRL", with_uv), with_pip]
    return [("PyTorch for CPU and TRL", [*with_uv, *cpu_options()]), ("PyTorch with CUDA's libraries (5 GB) and TRL", with_uv), with_pip]


def cpu_options() -> list[str]:
    """Return uv's options for PyTorch's CPU build: from the wheels that pip is set up with, which uv ignores, or PyTorch's own index."""
    config = subprocess.run([str(PYTHON), "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False)
    links = [*os.environ.get("PIP_FIND_LINKS", "").split(), *config.stdout.split()]
    folders = [link for link in links if any(Path(link).glob("torch-*+cpu-*.whl"))]
    return [part for folder in folders for part in ("--find-links", folder)] or ["--torch-backend=cpu"]


def fingerprint() -> str:
    digest = hashlib.sha256(f"{local.ROOT} {sys.version}".encode())
    for file in (local.ROOT / LOCK, local.ROOT / "python_backend/pyproject.toml"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def lock() -> int:
    """Resolve the packages for Python 3.11; the versions also suit 3.12."""
    uv = local.find_uv()
    if uv is None:
        local.stop(f"{LOCK} needs uv, which is neither on PATH nor in the package index")
    return local.resolve(uv, ["python_backend/pyproject.toml", "--extra=train"], LOCK_LIMITS, LOCK, "python3 build/train.py lock")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
