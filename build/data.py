#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make a training set from questions, step by step.

    python3 build/data.py all --recipe tiny --work DIR
    python3 build/data.py all --recipe s1k --work DIR --dry-run

Runs ``python -m budgetforce.curating`` in the environment of build/local.py, which is made on first use.
Standard library only: this file runs before anything is installed.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import local  # build/local.py

NEEDED = ("budgetforce", "s1_client", "pyarrow", "sklearn", "math_verify", "matplotlib")


def prepare() -> None:
    """Continue in the environment, unless this Python has all packages. Paths on the command line stay relative to this folder."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    local.use_supported_python()
    folder = Path.cwd()
    os.chdir(local.ROOT)
    local.make_environment()
    local.add_data_packages()
    os.chdir(folder)
    local.become([str(local.PYTHON), __file__, *sys.argv[1:]])


if __name__ == "__main__":
    prepare()
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about the missing PyTorch, which tokenizers do not need
    sys.exit(importlib.import_module("budgetforce.curating.__main__").main(prog="build/data.py"))
