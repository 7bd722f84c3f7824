# SPDX-License-Identifier: Apache-2.0
"""Script and record of the stand-ins for vLLM and TensorRT-LLM.

Attributes:
    ids: ids sampled in order after any prompt; no ids follow them.
    num_cached: reported number of a prompt's ids in the KV cache.
    broken: whether the next id is an error of a single call.
    died: whether the library has crashed.
    num_started: how often a library was started.
    running: names of the running calls.
    left: names of the calls that were closed before their end.
"""

from __future__ import annotations

from collections.abc import Sequence

ids: Sequence[int] = ()
num_cached: int | None = 0
broken = died = False
num_started = 0
running: set[str] = set()
left: list[str] = []


def reset(*script: int) -> None:
    """Set a new script and clear the record."""
    global ids, num_cached, broken, died, num_started  # as the libraries, of which a process has only one
    ids, num_cached, broken, died, num_started = script, 0, False, False, 0
    running.clear()
    left.clear()
