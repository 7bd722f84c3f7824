# SPDX-License-Identifier: Apache-2.0
"""What a Triton server and the stubs of its Python models use, read from /proc (Linux), what the rest of the machine uses meanwhile,
and what machine that is.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tritonclient.grpc import InferenceServerClient

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MAX_OTHERS = 0.05  # of the machine's CPU; with two cores a tenth of one: more moves a figure by more than turns differ


class ServerMeter:
    """Reads a server and the stubs of some of its Python models, which are in its process group.

    Idle stubs wake up some times a second, so those of models that are not asked would be seen.
    """

    def __init__(self, pid: int, models: Iterable[str] | None = None) -> None:
        """Without ``models``: all of them."""
        self._pid = pid
        self._marks = None if models is None else [f"/{model}/" for model in models]

    def cpu_s(self) -> float:
        """CPU time used so far, of all of them; in steps of 10 ms a process."""
        return sum(sum(map(int, fields[11:13])) for fields in self._stats().values()) / TICKS_PER_S

    def memory_mb(self) -> float:
        """Proportional set size: pages that are shared count in parts."""
        return sum(map(_pss_kb, self._stats())) / 1024

    def _stats(self) -> dict[int, list[str]]:
        """By process id: what stands in its stat file behind the name."""
        stats = {int(path.name): _read(path / "stat").rpartition(")")[2].split() for path in _processes()}
        return {pid: fields for pid, fields in stats.items() if fields and int(fields[2]) == self._pid and self._counts(pid)}

    def _counts(self, pid: int) -> bool:
        if pid == self._pid or self._marks is None:
            return True
        command = _read(Path(f"/proc/{pid}/cmdline"))
        return any(mark in command for mark in self._marks)


def machine_cpu_s() -> float:
    """CPU time that the machine has spent on anything, other guests of its host included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, _read(Path("/proc/stat")).split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


class OthersMeter:
    """The CPU that neither this process nor any process that it has started uses, from now on."""

    def __init__(self) -> None:
        self._began = time.monotonic(), machine_cpu_s(), own_cpu_s()

    def share(self) -> float:
        """As a share of the machine's CPU, 0 to 1."""
        began, machine_s, own_s = self._began
        others_s = machine_cpu_s() - machine_s - (own_cpu_s() - own_s)
        return max(0.0, others_s) / ((time.monotonic() - began) * (os.cpu_count() or 1))


def own_cpu_s() -> float:
    """CPU time so far of this process and of all that it has started, those that have ended included once they were waited for."""
    stats = {int(path.name): _read(path / "stat").rpartition(")")[2].split() for path in _processes()}
    parents = {pid: int(fields[1]) for pid, fields in stats.items() if fields}
    return sum(sum(map(int, stats[pid][11:15])) for pid in descendants(os.getpid(), parents)) / TICKS_PER_S


def descendants(root: int, parents: dict[int, int]) -> set[int]:
    """A process and all that come from it; ``parents`` gives each process its parent."""
    found, newest = {root}, {root}
    while newest := {pid for pid, parent in parents.items() if parent in newest} - found:
        found |= newest
    return found


def busy_mark(others: float | None) -> str:
    """What stands behind a figure that was measured while others used the CPU: such a row is not to be believed."""
    return f" (busy: others {others:.0%})" if others is not None and others > MAX_OTHERS else ""


def spread(values: Sequence[float], num_digits: int) -> str:
    """The median of the turns, with the lowest and the highest."""
    low, middle, high = (f"{value:.{num_digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _read(path: Path) -> str:
    """A file's text; none of a process that has gone."""
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _pss_kb(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def machine(url: str) -> dict[str, Any]:
    """Where and with what the figures were made."""
    models = [text.partition(":")[2].strip() for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
    with InferenceServerClient(url) as client:
        triton = client.get_server_metadata().version
    return {
        "cpu": models[0] if models else "unknown",
        "num_cores": len(os.sched_getaffinity(0)),
        "date": datetime.now(UTC).date().isoformat(),
        "triton": triton,
        "python": sys.version.split()[0],
    }


def announce(url: str) -> dict[str, Any]:
    """Print where and with what the figures are made; return it."""
    where = machine(url)
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    return where


def save(path: Path | None, where: dict[str, Any], **figures: Any) -> None:
    """Write the figures as JSON, unless there is no path."""
    if path is not None:
        path.write_text(json.dumps({"machine": where, **figures}, indent=1) + "\n")
