# SPDX-License-Identifier: Apache-2.0
"""Several replies to one question made into one: majority vote, best of n, pass@k. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import TypeVar

from s1_client.evaluation.grading.graders import Vote

Candidate = TypeVar("Candidate")


def majority(answers: Sequence[str], vote: Vote, weights: Sequence[float] | None = None) -> int | None:
    """The place of the answer that stands for the majority: the first of those that say what most say.

    An answer without a vote (None) does not count. Of several that have as many votes (or as much weight), that which
    was said first wins: with two answers that differ, maj@2 is the first one.
    """
    total: dict[str, float] = {}
    first: dict[str, int] = {}
    for place, answer in enumerate(answers):
        said = vote(answer)
        if said is not None:
            total[said] = total.get(said, 0.0) + (1.0 if weights is None else weights[place])
            first.setdefault(said, place)
    return first[max(total, key=lambda said: total[said])] if total else None  # max() keeps the first of equals


def best_of(candidates: Sequence[Candidate], scorer: Callable[[Candidate], float]) -> Candidate:
    """The candidate with the highest score; of equals the first. Raises ValueError if there is none."""
    return max(candidates, key=scorer)


def pass_at(k: int, *, num_right: int, number: int) -> float:
    """The chance that one of ``k`` is right, drawn without replacement out of ``number`` with ``num_right``.

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, Eq. 1).
    """
    if not 1 <= k <= number:
        raise ValueError(f"k: got {k}, allowed: 1 to {number}")
    return 1 - comb(number - num_right, k) / comb(number, k)


def powers_up_to(number: int) -> list[int]:
    """1, 2, 4, …, and the number itself."""
    return sorted({1 << power for power in range(number.bit_length())} | {number}) if number else []
