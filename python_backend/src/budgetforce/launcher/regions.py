# SPDX-License-Identifier: Apache-2.0
"""The shared memory regions through which Triton and its Python models exchange requests, prompts included."""

from __future__ import annotations

import contextlib

from budgetforce.processes import SHARED_MEMORY

OWNER_ALONE = 0o600


def hide(prefix: str) -> None:
    """Take other users' access to the regions whose names begin with ``prefix``.

    Triton creates a region readable for everybody, whatever the umask is. A process that opened it before this call keeps it open:
    only a /dev/shm of the server's own, as in a container, keeps that one out.
    """
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            region.chmod(OWNER_ALONE)
