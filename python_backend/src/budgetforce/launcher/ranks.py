# SPDX-License-Identifier: Apache-2.0
"""Start, watch and end the processes of one server: a tritonserver, or a process per rank under mpirun for an engine on several GPUs.

The latter is TensorRT-LLM's leader mode. Rank 0 is the server; the others load only the engine's model, never return from
that, and end when rank 0 ends them through MPI (TensorRT-LLM: model_instance_state.cc @0c8de69). The command is that of
NVIDIA's launch_triton_server.py (TensorRT-LLM: triton_backend/scripts @0a2e2c1), which does not stay to watch. Observed
with Open MPI 4.1.4 and 5.0.11, and the reason for the steps here:

* mpirun binds each of two ranks to one core, with its threads and stubs: hence --bind-to none.
* mpirun kills its ranks 0.5 to 2 s after a signal to stop: hence only rank 0 gets the signal. A tritonserver that is still
  loading has no handler for signals (server: src/main.cc r26.07), so the signal would kill any other rank.
* mpirun keeps waiting when a rank ends with code 0, and 5.0 always does while a stub has its output open: hence ranks are
  watched here.
* mpirun called by its path puts its own folder first on the PATH of the ranks, where stubs look for their Python.
* mpirun that is killed leaves its ranks running, and files in /dev/shm; after a signal to stop it removes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from budgetforce.errors import ConfigError
from budgetforce.processes import arguments, die_with_parent, in_child_before_exec, is_running, kill_session, members

TIDY_S = 3.0  # for mpirun to clean up after the signal to stop


def world_size(engine_dir: Path) -> int:
    """Read how many ranks a TensorRT-LLM engine was built for. Raises ConfigError."""
    path = engine_dir / "config.json"
    try:
        num_ranks = int(json.loads(path.read_text())["pretrained_config"]["mapping"]["world_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not name pretrained_config.mapping.world_size: {error}") from None
    missing = [rank for rank in range(num_ranks) if not (engine_dir / f"rank{rank}.engine").is_file()]
    if missing:
        raise ConfigError(f"{engine_dir} has no rank{missing[0]}.engine, and was built for {num_ranks} ranks")
    return num_ranks


def mpirun(commands: Sequence[Sequence[str]]) -> list[str]:
    """Return one command that runs each of these commands as a rank. Raises ConfigError if there is no mpirun."""
    if shutil.which("mpirun") is None:
        raise ConfigError(f"the engine was built for {len(commands)} ranks, which needs mpirun: there is none on PATH")
    joined = [part for command in commands for part in (":", "-n", "1", *command)][1:]
    return ["mpirun", "--allow-run-as-root", "--bind-to", "none", *joined]


@dataclass(slots=True, kw_only=True)
class Ranks:
    """The running processes of one server.

    Attributes:
        process: the tritonserver, or the mpirun of the ranks.
        marks: for each rank, an argument that no other rank has.
        pids: process ids by rank, as far as they have been seen.
    """

    process: subprocess.Popen[bytes]
    marks: Sequence[str]
    pids: dict[int, int] = field(default_factory=dict)

    @classmethod
    def start(
        cls, commands: Sequence[Sequence[str]], *, marks: Sequence[str], environment: dict[str, str], log: IO[bytes] | None, held: int
    ) -> Ranks:
        """Start one command per rank. The caller holds back interrupts until it has the result. Raises ConfigError.

        ``held``: descriptor of a file that the processes hold open as long as they live.
        """
        process = subprocess.Popen(
            commands[0] if len(commands) == 1 else mpirun(commands),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(held,),
            start_new_session=True,  # Ctrl-C reaches only the launcher, which then stops the server
            preexec_fn=_in_child_before_exec,
        )
        return cls(process=process, marks=marks, pids={0: process.pid} if len(commands) == 1 else {})

    def ended(self) -> str | None:
        """Return a sentence that names the process that has ended, or None while all of them run."""
        code = self.process.poll()
        if code is not None:
            return f"Triton ended with code {code}"
        self._find_pids()
        lost = [rank for rank, pid in sorted(self.pids.items()) if not is_running(pid, self.process.pid)]
        if lost and len(self.marks) > 1:
            return f"the engine needs its {len(self.marks)} ranks, and {', '.join(f'rank {rank}' for rank in lost)} ended"
        return None

    def end(self, timeout_s: float, follow_s: float) -> None:
        """Give rank 0 ``timeout_s`` for an orderly end and the others ``follow_s`` after it, then kill the rest.

        If a rank is lost, the others wait for it for ever: they are killed at once.
        """
        if self.ended() is None and 0 in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[0], signal.SIGINT)
            if self._wait(timeout_s, lambda: not is_running(self.pids[0], self.process.pid)):
                self._wait(follow_s, lambda: self.process.poll() is not None)
        if len(self.marks) > 1:
            self.process.terminate()
            self._wait(TIDY_S, lambda: self.process.poll() is not None)
        kill_session(self.process)

    def _find_pids(self) -> None:
        """Find the ranks' process ids: mpirun's own arguments contain all marks, a rank's a single mark."""
        if len(self.pids) == len(self.marks):
            return
        for pid in members(self.process.pid):
            words = set(arguments(pid))
            marked = [rank for rank, mark in enumerate(self.marks) if mark in words]
            if len(marked) == 1:
                self.pids.setdefault(marked[0], pid)

    @staticmethod
    def _wait(timeout_s: float, is_over: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + timeout_s
        while not (over := is_over()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return over


def _in_child_before_exec() -> None:
    in_child_before_exec()
    die_with_parent()
