# SPDX-License-Identifier: Apache-2.0
"""The shared memory that processes of a test use, so that a test can check that they leave none of it behind."""

from collections.abc import Iterable
from pathlib import Path

_SHARED_MEMORY = "/dev/shm/"


def shared_memory_of(pids: Iterable[int]) -> set[Path]:
    """Return the files of shared memory that these processes have mapped.

    Only theirs: other servers of the machine, of this project among them, come and go while a test runs.
    """
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    paths = (line.split(maxsplit=5)[-1].removesuffix(" (deleted)") for line in lines)
    return {Path(path) for path in paths if path.startswith(_SHARED_MEMORY)}


def left_of(shared: Iterable[Path]) -> list[Path]:
    """Return those of the files that still exist."""
    return [path for path in shared if path.exists()]
