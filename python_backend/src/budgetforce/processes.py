# SPDX-License-Identifier: Apache-2.0
"""Processes that are ours to end: one in a session of its own, with all that it starts.

What belongs together is told by the session. Groups would not do: mpirun gives each of its ranks one (Open MPI 4.1
and 5.0), so that killing mpirun's leaves them running.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
KILL_TIMEOUT_S = 2  # a process in the middle of a system call may not go at once
_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep interrupts waiting while a process starts: one that came before its owner holds it would leave it behind."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def in_child_before_exec() -> None:
    """Undo that in the child."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)  # the mask is inherited


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, as process 1 is anyway (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """In a child before exec: get SIGTERM when the parent dies, however it dies (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def is_running(pid: int, session: int) -> bool:
    """Whether it lives, and is still that of this session: numbers are given out again."""
    found = _session_and_state(_PROC / str(pid) / "stat")
    return found is not None and found[0] == session and found[1] not in "ZX"


def members(session: int) -> list[int]:
    """The living processes of a session."""
    return [pid for pid in _of_session(session) if is_running(pid, session)]


def arguments(pid: int) -> list[str]:
    """Its command line; empty if it has ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def kill_session(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process and all of its session; back when they are gone, those that became our children reaped."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while (left := members(leader.pid)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    leader.wait()
    for pid in _of_session(leader.pid):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _of_session(session: int) -> Iterator[int]:
    """Its processes, the dead that nobody has asked for among them."""
    for path in _PROC.glob("[0-9]*/stat"):
        found = _session_and_state(path)
        if found is not None and found[0] == session:
            yield int(path.parent.name)


def _session_and_state(stat: Path) -> tuple[int, str] | None:
    """Out of a file /proc/PID/stat (proc(5)); None if there is no such process."""
    try:
        state, _, _, session, *_ = stat.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(session), state.decode()
