#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make a training set from questions, step by step.

    python3 build/data.py all --recipe tiny --work DIR
    python3 build/data.py all --recipe s1k --work DIR --dry-run

Runs ``python -m budgetforce.curating``: in the environment of build/local.py if that exists, else in this Python, after
installing its packages where they are missing. Standard library only: this file runs before anything is installed.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".s1" / "env" / "bin" / "python"
NEEDED = ("budgetforce", "s1_client", "pyarrow", "sklearn", "math_verify", "matplotlib")


def prepare() -> None:
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    if ENVIRONMENT.exists() and Path(sys.prefix) != ENVIRONMENT.parent.parent:
        os.execv(ENVIRONMENT, [str(ENVIRONMENT), *sys.argv])
    packages = [f"{ROOT / 'client'}[eval]", f"{ROOT / 'python_backend'}[data]"]
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", *packages])
    importlib.invalidate_caches()


if __name__ == "__main__":
    prepare()
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about the missing PyTorch, which tokenizers do not need
    sys.exit(importlib.import_module("budgetforce.curating.__main__").main(prog="build/data.py"))
