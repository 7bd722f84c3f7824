# SPDX-License-Identifier: Apache-2.0
"""Training runs for the tests, in the environment for training: ``python runs.py FOLDER``.

One process does all runs or forks into them, because importing PyTorch and TRL takes longer than each run. FOLDER holds
``set/`` and recipes, and gets a work folder for each run.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from budgetforce.training import models, monitor
from budgetforce.training.__main__ import main

KILLED = 9
# What a run imports on its way: imported before the first fork, or each process would spend seconds on it.
ON_ITS_WAY = ("budgetforce.training.sft", "budgetforce.training.trainer", "budgetforce.training.arguments")
ON_ITS_WAY += ("torch.distributed.fsdp", "transformers.models.auto.modeling_auto", "transformers.models.qwen2.modeling_qwen2")
ON_ITS_WAY += ("matplotlib.figure", "matplotlib.backends.backend_agg")


def sft(name: str, *options: str, recipe: str = "whole") -> int:
    return main(["sft", "--recipe", f"{recipe}.toml", "--data", "set", "--work", name, *options])


def in_child(work: Callable[[], int]) -> int:
    """Do some work in a forked process. Return its process id."""
    child = os.fork()
    if child == 0:
        os._exit(work())
    return child


def killed_before_marking(name: str) -> int:
    """Begin a run that is gone when its second state is written, but not yet marked as complete. Return its exit code."""
    mark, marked = monitor.mark_complete, []

    def mark_or_die(state: Path) -> None:
        if marked:
            os._exit(KILLED)
        marked.append(state)
        mark(state)

    def run() -> int:
        monitor.mark_complete = mark_or_die
        return sft(name, recipe="often")

    return exit_code(in_child(run))


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(step: int, name: str) -> int:
    """Begin a run that is gone as soon as a state is complete, without any clean-up. Return its exit code."""
    mark = monitor.mark_complete

    def mark_and_die(state: Path) -> None:
        mark(state)
        (state.parent / f"checkpoint-{step + 1}").mkdir()  # the next state, of which nothing is complete
        os._exit(KILLED)

    def run() -> int:
        monitor.mark_complete = mark_and_die
        return sft(name)

    return exit_code(in_child(run))


def shared_by_two(name: str, recipe: str) -> int:
    """Do a run in two processes, with the variables that torchrun sets. Return the larger exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(rank: int) -> int:
        common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ.update(common, RANK=str(rank), LOCAL_RANK=str(rank))
        return sft(name, recipe=recipe)

    return max([exit_code(child) for child in [in_child(partial(run, rank)) for rank in (0, 1)]])


def on_full_disk(name: str) -> int:
    """Run while the checkpoint cannot be written."""
    write = models.save_model

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint.partial/model.safetensors")

    models.save_model = fail
    try:
        return sft(name)
    finally:
        models.save_model = write


def all_runs() -> dict[str, int]:
    """Do all runs. Return their exit codes."""
    return {
        "shared": shared_by_two("shared", "whole"),
        "shared token": shared_by_two("shared-token", "token"),
        "nothing to resume": sft("resumed", "--resume"),
        "killed": killed_at(4, "resumed"),
        "killed before marking": killed_before_marking("unmarked"),
        "broken base": sft("broken-base", recipe="broken"),
        "other recipe": sft("resumed", recipe="sixteen"),
        "resumed": sft("resumed", "--resume"),
        "whole": sft("whole"),
        "again": sft("whole"),
        "at once": sft("at-once", recipe="at-once"),
        "token": sft("token", recipe="token"),
        "token at once": sft("token-at-once", recipe="token-at-once"),
        "full disk": on_full_disk("full-disk"),
        "disk freed": sft("full-disk"),
    }


if __name__ == "__main__":
    for name in ON_ITS_WAY:
        import_module(name)
    os.chdir(sys.argv[1])
    print(all_runs())
