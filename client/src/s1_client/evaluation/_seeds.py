# SPDX-License-Identifier: Apache-2.0
"""The seeds of repeated requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SEEDS = ("seed", "thinking_seed")


def shift_seeds(options: Mapping[str, Any], shift: int) -> dict[str, Any]:
    """Return the options that have a value, with every seed raised by ``shift``: equal seeds would give equal replies."""
    return {name: value + shift if name in _SEEDS else value for name, value in options.items() if value is not None}
