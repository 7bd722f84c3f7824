# SPDX-License-Identifier: Apache-2.0
"""Describe the machine that the load test runs on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from s1_client.loadtest._record import Machine

_TIMEOUT_S = 10.0


def this_machine() -> Machine:
    """Return CPU, usable cores, memory, and the GPUs as nvidia-smi names them."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(cpu=_cpu(), num_cores=len(os.sched_getaffinity(0)), memory_bytes=pages * page_bytes, gpus=_gpus())


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.machine()


def _gpus() -> tuple[str, ...] | None:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return tuple(line.strip() for line in output.splitlines() if line.strip())
