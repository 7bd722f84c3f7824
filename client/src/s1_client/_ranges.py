# SPDX-License-Identifier: Apache-2.0
"""What the server takes in its fields of integers, for messages about values that cannot be sent at all.

The server is the one that checks; tests/contract/test_ranges.py holds this table to it.
"""

from __future__ import annotations

_LEAST = {
    "max_thinking_tokens": -1,
    "min_thinking_tokens": 0,
    "num_ignore": 0,
    "grace_tokens": 0,
    "max_tokens": 1,
    "num_samples": 1,
    "timeout_ms": 1,
    "top_k": 0,
    "thinking_top_k": 0,
}
_MOST = {"num_samples": 64}


def integers_of(name: str, least: int, most: int) -> tuple[int, int]:
    """The least and the greatest integer of a field, whose tensor holds these."""
    return _LEAST.get(name, least), _MOST.get(name, most)
