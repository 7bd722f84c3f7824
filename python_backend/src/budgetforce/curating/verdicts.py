# SPDX-License-Identifier: Apache-2.0
"""Read a verdict, right or wrong, as data sets write it."""

from __future__ import annotations

from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.errors import shorten

_VERDICTS = {"yes": True, "true": True, "no": False, "false": False}


def verdict_of(value: Any, where: str) -> bool | None:
    """Return true or false for a boolean or for Yes and No; None for null. Raises BuildFailed for anything else."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().casefold() in _VERDICTS:
        return _VERDICTS[value.strip().casefold()]
    raise BuildFailed(f"{where}: got {shorten(value)}, allowed: a boolean, Yes, No or null")
