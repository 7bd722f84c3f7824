# SPDX-License-Identifier: Apache-2.0
"""Control, Scaling and Performance of "s1: Simple test-time scaling" (arXiv 2501.19393, section 3.2). Pure.

A run is an evaluation at one setting: a, its mean thinking tokens, and f, its accuracy in percent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An evaluation at one setting.

    Attributes:
        thinking_tokens: a, mean over its replies.
        accuracy: f, in percent.
        least, most: bounds of a; None = unbounded.
    """

    thinking_tokens: float
    accuracy: float
    least: float | None = None
    most: float | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether a has a lower or upper bound."""
        return self.least is not None or self.most is not None

    @property
    def is_kept(self) -> bool:
        """Whether a is within its bounds."""
        is_enough = self.least is None or self.thinking_tokens >= self.least
        return is_enough and (self.most is None or self.thinking_tokens <= self.most)


def control(runs: Sequence[Run]) -> float | None:
    """Return Control = 1/|A| · Σ_{a ∈ A} 1[a_min ≤ a ≤ a_max], in percent (Eq. 1): the share of runs within their bounds.

    A are the bounded runs; None without a bounded run.
    """
    bounded = [run for run in runs if run.is_bounded]
    return 100 * fmean(run.is_kept for run in bounded) if bounded else None


def scaling(runs: Sequence[Run], *, is_log2: bool = True) -> float | None:
    """Return Scaling, the mean over all pairs a < b of (f(b) − f(a)) / (b − a) (Eq. 2).

    The published figures have a on a logarithmic axis, the default here: percentage points of accuracy per doubling of
    the thinking, leaving out runs without thinking. Otherwise percentage points per token. None without two runs of
    different length.
    """
    kept = [run for run in runs if run.thinking_tokens > 0] if is_log2 else runs
    points = sorted((math.log2(run.thinking_tokens) if is_log2 else run.thinking_tokens, run.accuracy) for run in kept)
    slopes = [(f_b - f_a) / (b - a) for (a, f_a), (b, f_b) in combinations(points, 2) if b > a]
    return fmean(slopes) if slopes else None


def performance(runs: Sequence[Run]) -> float | None:
    """Return Performance = max_a f(a), in percent (Eq. 3); None without a run."""
    return max((run.accuracy for run in runs), default=None)
