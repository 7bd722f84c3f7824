# SPDX-License-Identifier: Apache-2.0
"""Find and end a process together with everything that it has started, by their common session.

Process groups would not do: mpirun gives each of its ranks a group of its own (Open MPI 4.1 and 5.0), so that killing
mpirun's group leaves them running.
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
KILL_TIMEOUT_S = 2  # a process inside a system call may not end at once
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # POSIX shared memory of Triton and its stubs
_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold back interrupts while a process starts: an earlier interrupt would leave it behind without an owner."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def in_child_before_exec() -> None:
    """Release held interrupts in the child, which inherits the mask."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def adopt_orphans() -> None:
    """Become the parent of processes that children leave behind, as process 1 always is (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Make the kernel send this child SIGTERM when its parent dies, however it dies (Linux); for use before exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def is_running(pid: int, session: int) -> bool:
    """Whether a process runs and belongs to this session: process ids are reused."""
    found = _session_and_state(_PROC / str(pid) / "stat")
    return found is not None and found[0] == session and found[1] not in "ZX"


def members(session: int) -> list[int]:
    """Return the ids of a session's running processes."""
    return [pid for pid in _of_session(session) if is_running(pid, session)]


def arguments(pid: int) -> list[str]:
    """Return the command line of a process; empty if it has ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def kill_session(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process and its whole session. Returns when they are gone; those that became children of this process are reaped."""
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
    """Yield the ids of a session's processes, zombies included."""
    for path in _PROC.glob("[0-9]*/stat"):
        found = _session_and_state(path)
        if found is not None and found[0] == session:
            yield int(path.parent.name)


def _session_and_state(stat: Path) -> tuple[int, str] | None:
    """Read session and state from /proc/PID/stat (proc(5)); None if there is no such process."""
    try:
        state, _, _, session, *_ = stat.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(session), state.decode()
