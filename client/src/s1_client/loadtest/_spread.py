# SPDX-License-Identifier: Apache-2.0
"""Percentiles of values.

They are numpy's ``percentile(method="linear")``: interpolated between the two nearest values. A percentile of fewer than
1 / (1 - p) values lies between the two largest and says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles of ``num_values`` values, in the metric's unit; None without values."""

    num_values: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        found = [float(value) for value in np.percentile(values, PERCENTILES)] if len(values) else [None] * len(PERCENTILES)
        return cls(num_values=len(values), **{f"p{p}": value for p, value in zip(PERCENTILES, found, strict=True)})
