# SPDX-License-Identifier: Apache-2.0
"""Choose among the first k samples of each question: by majority vote, or by a reward model's scores. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from s1_client.evaluation._intervals import Estimate, estimate
from s1_client.evaluation._parallel import best_of, majority
from s1_client.evaluation._samples import Sample
from s1_client.evaluation._tasks import Question
from s1_client.evaluation.grading.graders import vote_of

Choice = Callable[[str, Sequence[Sample]], bool]  # a question's id and samples -> whether the chosen sample is right


def by_question(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Return the samples of each question."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.question].append(sample)
    return found


def accuracies_of(counts: Sequence[int], votes: Mapping[str, Sequence[Sample]], choose: Choice) -> dict[str, Estimate]:
    """Return k -> accuracy of the sample that ``choose`` picks from the first k of each question."""
    return {str(k): won for k in counts if (won := estimate([choose(question, found[:k]) for question, found in votes.items()]))}


def votes_of(questions: Mapping[str, Question]) -> Choice:
    """Return the choice by majority vote."""
    return lambda question, samples: _vote(questions[question], samples)


def _vote(question: Question, samples: Sequence[Sample]) -> bool:
    answers = [sample.answer if sample.is_accepted else "" for sample in samples]
    winner = majority(answers, vote_of(question.grading))
    return winner is not None and samples[winner].is_right


def by_score(_: str, samples: Sequence[Sample]) -> bool:
    """Return whether the accepted sample with the highest score is right."""
    scored = [(sample.score, sample) for sample in samples if sample.is_accepted and sample.score is not None]
    return bool(scored) and best_of(scored, lambda pair: pair[0])[1].is_right
