#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build a TensorRT-LLM engine of s1-32B, inside the pinned image (how: docs/gpu-engine.md).

    python3 build/engine.py plan --gpus 2xH100
    python3 build/engine.py all --preset s1-32b --work DIR

Runs ``python -m budgetforce.building``, and installs its package first where it is missing.
Standard library only: this file runs before anything is installed.
"""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    if sys.argv[1:2] == ["plan"]:  # needs only the standard library: any machine, no network, nothing installed
        sys.path.insert(0, str(ROOT / "python_backend" / "src"))
    elif importlib.util.find_spec("budgetforce") is None:
        subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", str(ROOT / "python_backend")])
        importlib.invalidate_caches()
    sys.exit(importlib.import_module("budgetforce.building.__main__").main(prog="build/engine.py"))
