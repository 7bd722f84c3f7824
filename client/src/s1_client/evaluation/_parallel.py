# SPDX-License-Identifier: Apache-2.0
"""Combine several replies to a question: majority vote, best of n, pass@k. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import TypeVar

from s1_client.evaluation.grading.graders import Vote

Candidate = TypeVar("Candidate")


def majority(answers: Sequence[str], vote: Vote, weights: Sequence[float] | None = None) -> int | None:
    """Return the index of the first answer with the majority's vote; None if no answer has a vote.

    An answer without a vote (None) does not count. Of votes with equal numbers (or weights) the first given wins: of
    two different answers, maj@2 is the first.
    """
    total: dict[str, float] = {}
    first: dict[str, int] = {}
    for index, answer in enumerate(answers):
        choice = vote(answer)
        if choice is not None:
            total[choice] = total.get(choice, 0.0) + (1.0 if weights is None else weights[index])
            first.setdefault(choice, index)
    return first[max(total, key=lambda choice: total[choice])] if total else None  # max() keeps the first of equals


def best_of(candidates: Sequence[Candidate], scorer: Callable[[Candidate], float]) -> Candidate:
    """Return the candidate with the highest score, the first of equals. Raises ValueError without a candidate."""
    return max(candidates, key=scorer)


def pass_at(k: int, *, num_right: int, number: int) -> float:
    """Return the probability that at least one of ``k`` samples is right, drawn from ``number`` with ``num_right``.

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, Eq. 1).
    """
    if not 1 <= k <= number:
        raise ValueError(f"k: got {k}, allowed: 1 to {number}")
    return 1 - comb(number - num_right, k) / comb(number, k)


def powers_up_to(number: int) -> list[int]:
    """Return the powers of two below a number, and the number itself, in ascending order."""
    return sorted({1 << power for power in range(number.bit_length())} | {number}) if number else []
