# SPDX-License-Identifier: Apache-2.0
"""A server's files in /dev/shm: the regions through which Triton and its Python models exchange requests, and its control file.

Their names begin with the server's prefix. The launcher holds a lock on the control file, and so does every process of the server, because
it inherits the open file. The kernel releases the lock when the last of them has died, however it died. So whoever gets the lock may
remove the files: a launcher that is killed cannot remove its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import uuid
from pathlib import Path
from typing import IO

from budgetforce.processes import SHARED_MEMORY

OWNER_ALONE = 0o600
CONTROL = "control"
_CONTROL_FILE = re.compile(r"(s1_[0-9a-f]{12}_)control")


def new_prefix() -> str:
    """Return a prefix that no other server has."""
    return f"s1_{uuid.uuid4().hex[:12]}_"


def control_file(prefix: str) -> Path:
    """Return the path of a server's control file, in which ``s1`` finds the order to drain."""
    return SHARED_MEMORY / f"{prefix}{CONTROL}"


def claim(prefix: str) -> IO[bytes]:
    """Create a server's control file and lock it. The lock lasts until every process that has the returned file open has closed it.

    The file is created, never opened, so that it cannot be another user's. Raises OSError.
    """
    while True:
        descriptor = os.open(control_file(prefix), os.O_CREAT | os.O_EXCL | os.O_RDWR, OWNER_ALONE)
        file = os.fdopen(descriptor, "r+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return file
        file.close()  # before the lock another launcher took it for a leftover


def remove(prefix: str) -> None:
    """Remove all files of a server."""
    for leftover in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            leftover.unlink()


def remove_leftovers() -> None:
    """Remove the files of this user's servers of which no process is left, such as those of a launcher that was killed."""
    for path in SHARED_MEMORY.glob(f"*{CONTROL}"):
        if (match := _CONTROL_FILE.fullmatch(path.name)) is not None:
            with contextlib.suppress(OSError):  # locked, another user's, or gone
                _remove_if_dead(path, match.group(1))


def _remove_if_dead(path: Path, prefix: str) -> None:
    """Remove a server's files unless its processes hold the lock. Raises OSError if they do, or if they are another user's."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(prefix)
    finally:
        os.close(descriptor)


def hide(prefix: str) -> None:
    """Take other users' access to the regions whose names begin with ``prefix``.

    Triton creates a region readable for everybody, whatever the umask is. A process that opened it before this call keeps it open:
    only a /dev/shm of the server's own, as in a container, keeps that one out.
    """
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            region.chmod(OWNER_ALONE)
