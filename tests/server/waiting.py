# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other processes do, and what a server tells of itself."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from budgetforce.launcher.triton_server import TritonServer


def wait_until(happened: Callable[[], object], *, seconds: float) -> None:
    """Return when ``happened()`` is true. Fails if that takes longer."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def gauge(server: TritonServer, line: str) -> float:
    """What the metrics of a server say in the line that begins so."""
    with urllib.request.urlopen(f"http://{server.ports.host}:{server.ports.metrics}/metrics", timeout=5) as response:
        return next(float(one.rpartition(" ")[2]) for one in response.read().decode().splitlines() if one.startswith(line))
