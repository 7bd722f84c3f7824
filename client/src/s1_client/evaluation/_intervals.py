# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals by the paired bootstrap over questions. Pure, and seeded: equal scores give equal intervals.

A score is a question's share of right replies, 0 to 1; questions are resampled, not replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 10_000  # as in the paper
SEED = 0
_Z = 1.959964  # quantile of a 95% interval
MIN_DIFFERENT = 6  # five differences in one direction occur by chance with p = 2 / 2**5 > 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean score, 0 to 1, with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of two settings over the questions that both have answered.

    Attributes:
        difference: accuracy of the second minus that of the first, -1 to 1; ``low`` and ``high`` bound its 95% interval.
        num_different: questions with different scores.
    """

    first: str
    second: str
    num_questions: int
    num_different: int
    difference: float
    low: float
    high: float

    @property
    def can_be_told_apart(self) -> bool:
        """Whether the interval excludes 0, with at least ``MIN_DIFFERENT`` different questions."""
        return self.num_different >= MIN_DIFFERENT and not self.low <= 0 <= self.high

    @property
    def figures(self) -> str:
        """The difference in percentage points with its interval, and the number of different questions where it decides."""
        text = f"{100 * self.difference:+.1f} points, 95% interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        too_few = self.num_different < MIN_DIFFERENT and not self.low <= 0 <= self.high
        return f"{text}, from {self.num_different} different questions" if too_few else text

    def sentence(self) -> str:
        """Return the comparison as a sentence."""
        if self.can_be_told_apart:
            return f"{self.second} is {'better' if self.difference > 0 else 'worse'} than {self.first}: {self.figures}"
        return f"{self.first} and {self.second} cannot be told apart with these {self.num_questions} questions: {self.figures}"


def interval(scores: Sequence[float], *, seed: int = SEED) -> tuple[float, float]:
    """Return the 95% interval of the mean score; equal scores, which resampling cannot vary, get Wilson's interval."""
    if len(set(scores)) == 1:
        return wilson(round(scores[0] * len(scores)), len(scores))
    return _percentiles(np.asarray(scores, dtype=np.float64), seed)


def estimate(scores: Sequence[float]) -> Estimate | None:
    """Return the mean score with its interval; None without a score."""
    if not scores:
        return None
    low, high = interval(scores)
    return Estimate(value=fmean(scores), low=low, high=high)


def compare(first: str, second: str, scores: Mapping[str, Mapping[str, float]], *, seed: int = SEED) -> Comparison | None:
    """Compare two settings over their common questions; None without a common question.

    Of equal scores the interval is not empty, see ``_difference_interval``.
    ``scores`` maps a setting's name to its score of each question.
    """
    shared = sorted(scores[first].keys() & scores[second].keys())
    if not shared:
        return None
    differences = np.array([scores[second][question] - scores[first][question] for question in shared])
    low, high = _difference_interval(differences, seed)
    return Comparison(
        first=first,
        second=second,
        num_questions=len(shared),
        num_different=int(np.count_nonzero(differences)),
        difference=float(differences.mean()),
        low=low,
        high=high,
    )


def _difference_interval(differences: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Return the 95% interval of the mean of differences, which are [num_questions].

    Equal differences, which resampling cannot vary, are no certainty: among further questions a share may differ, at most
    Wilson's bound for 0 of so many.
    """
    if np.ptp(differences) > 0:
        return _percentiles(differences, seed)
    _, unseen = wilson(0, len(differences))
    same = float(differences[0])
    return max(same - unseen, -1.0), min(same + unseen, 1.0)


@lru_cache(maxsize=4)  # a report uses the same draws many times
def draws(number: int, seed: int = SEED) -> NDArray[np.float64]:
    """Return how often each draw holds each of ``number`` questions: [NUM_RESAMPLES, number], rows sum to ``number``. Read-only."""
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=NUM_RESAMPLES).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def _percentiles(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Return the 95% interval of the mean of resampled values, which are [num_questions]."""
    low, high = np.percentile(draws(len(values), seed) @ values / len(values), (2.5, 97.5))
    return float(low), float(high)


def wilson(num_right: int, number: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share, which holds for few replies and for shares near 0 and 1."""
    share, spread = num_right / number, _Z * _Z / number
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * (share * (1 - share) / number + spread / (4 * number)) ** 0.5 / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)
