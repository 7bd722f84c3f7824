# SPDX-License-Identifier: Apache-2.0
"""Compare majority votes with refused ends, question by question: more samples against longer thinking. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from s1_client.evaluation._choices import by_question, votes_of
from s1_client.evaluation._forcing_curve import forcing_curve
from s1_client.evaluation._intervals import Comparison, compare
from s1_client.evaluation._protocol import SAMPLED, Setting
from s1_client.evaluation._samples import Sample
from s1_client.evaluation._tasks import Question

SettingResults = tuple[Setting, Sequence[Sample]]


def votes_compared(
    results: Sequence[SettingResults], questions: Mapping[str, Question], shares: Mapping[str, Mapping[str, float]]
) -> Iterator[Comparison]:
    """Yield the comparisons of the vote of all samples with each number of refused ends; ``shares`` has the latter's scores.

    The vote is of as many samples as each question has at least.
    """
    curve = forcing_curve([setting for setting, samples in results if samples])
    refused = [setting for tail in curve.refused.values() for setting in tail] if curve else []
    for setting, samples in results:
        if setting.kind == SAMPLED and samples:
            number = min(map(len, by_question(samples).values()))
            if number == 1:  # requests failed: a single sample is no vote
                continue
            name = f"the vote of {number} {setting.name}"
            scores = {**shares, name: _scores(samples, number, questions)}
            pairs = (compare(name, other.name, scores) for other in refused)
            yield from (pair for pair in pairs if pair is not None)


def _scores(samples: Sequence[Sample], number: int, questions: Mapping[str, Question]) -> dict[str, float]:
    """Return question -> 1.0 if the vote of its first ``number`` samples is right, else 0.0."""
    choose = votes_of(questions)
    return {question: float(choose(question, found[:number])) for question, found in by_question(samples).items()}
