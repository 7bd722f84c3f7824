# SPDX-License-Identifier: Apache-2.0
"""Run a tool of the image with its output in a log, a line of progress, and a readable error if it fails."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from budgetforce.building.spec import IMAGE
from budgetforce.building.stage import BuildFailed
from budgetforce.processes import die_with_parent

NUM_LAST_LINES = 15
TERMINAL_PERIOD_S, PLAIN_PERIOD_S = 1.0, 60.0
HINTS = {  # text in a tool's last lines: advice
    "No space left on device": "the disk is full: free some space, or choose --work on another disk",
    "CUDA out of memory": "the GPUs' memory is full: end other processes on them (nvidia-smi)",
    "OutOfMemory": "memory is full: end other processes, and check that the plan fits (sub-command plan)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One call of a tool.

    Attributes:
        estimate_s: estimated range of its duration; (0, 0) = unknown.
    """

    stage: str
    command: Sequence[str]
    log: Path
    estimate_s: tuple[float, float] = (0.0, 0.0)

    def __call__(self) -> None:
        """Run the tool and wait for it. Raises BuildFailed if it is missing, fails or is killed."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with self.log.open("wb") as log:
            log.write(f"$ {shlex.join(self.command)}\n".encode())
            log.flush()
            code = self._wait(self._start(log), started)
        if code:
            raise BuildFailed(self._failure(code, time.monotonic() - started))

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.command,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its workers end with it, by their group
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise BuildFailed(f"{self.command[0]} cannot be started ({error.strerror}): build inside {IMAGE}") from None

    def _wait(self, process: subprocess.Popen[bytes], started: float) -> int:
        terminal = sys.stderr.isatty()
        try:
            while True:
                try:
                    return process.wait(TERMINAL_PERIOD_S if terminal else PLAIN_PERIOD_S)
                except subprocess.TimeoutExpired:
                    self._show_progress(time.monotonic() - started, terminal)
        finally:
            end_group(process.pid)
            if terminal:
                print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _show_progress(self, seconds: float, terminal: bool) -> None:
        text = f"{self.stage}: {duration(seconds)}{remaining(seconds, self.estimate_s)}"
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{f'{text}  {last_lines(self.log, 1)}'[:width]}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _failure(self, code: int, seconds: float) -> str:
        end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        lines = last_lines(self.log, NUM_LAST_LINES)
        hints = [hint for sign, hint in HINTS.items() if sign in lines]
        if code == -signal.SIGKILL:
            hints.append("the kernel may have killed it for lack of memory (dmesg): compare the plan's host memory")
        advice = "".join(f"\n{hint}" for hint in hints)
        tool = next(Path(word).name for word in self.command if word != sys.executable)
        return f"stage {self.stage}: {tool} {end} after {duration(seconds)}; its last lines:\n{lines}\nlog: {self.log}{advice}"


def end_group(leader: int) -> None:
    """Kill the remaining processes of a group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def last_lines(log: Path, number: int) -> str:
    """Return the last lines of a log; of a progress bar, its last state."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 100 * (number + 10)))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join([line for line in lines if line][-number:])


def duration(seconds: float) -> str:
    """Format a duration: 7 s, 12 min, 1 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def remaining(seconds: float, estimate_s: tuple[float, float]) -> str:
    """Return the estimated time left as text; empty if the estimate has passed."""
    low, high = (max(0.0, bound - seconds) for bound in estimate_s)
    return f", {duration(low)} to {duration(high)} left by estimate" if high else ""
