# SPDX-License-Identifier: Apache-2.0
"""How long a thread has waited for a core, as Linux counts it (Documentation/scheduler/sched-stats.rst, schedstat of a task)."""

from __future__ import annotations

from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


def waited_for_core_s() -> float | None:
    """Return the seconds that the calling thread was ready to run and did not; None if the kernel does not count them."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None
