# SPDX-License-Identifier: Apache-2.0
"""Compare two evaluations, for example of two models: setting by setting, paired by question. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from s1_client.evaluation._intervals import Comparison, compare
from s1_client.evaluation._report import Graded
from s1_client.evaluation._tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A graded evaluation with its name and the options common to its requests."""

    name: str
    task: Task
    options: Mapping[str, Any]
    graded: Graded


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A setting of both evaluations. Accuracies (0 to 1) and mean thinking tokens cover only the shared questions."""

    setting: str
    accuracies: tuple[float, float]
    thinking_tokens: tuple[float | None, float | None]
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """The comparison of two evaluations.

    Attributes:
        num_questions: questions with the same id and prompt in both tasks.
        notes: sentences about differences beside the model.
        pairs: in the order of the second evaluation's settings; differences are second minus first.
    """

    names: tuple[str, str]
    models: tuple[str, str]
    num_questions: int
    notes: Sequence[str]
    pairs: Sequence[Pair]

    def to_json(self) -> str:
        """Return the whole comparison as indented JSON."""
        data = asdict(self)
        for item, pair in zip(data["pairs"], self.pairs, strict=True):
            item["comparison"]["can_be_told_apart"] = pair.comparison.can_be_told_apart
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def versus(first: Evaluation, second: Evaluation) -> Versus:
    """Compare the second evaluation with the first, over the questions and settings that both have."""
    shared = _shared(first.task, second.task)
    return Versus(
        names=(first.name, second.name),
        models=(first.graded.report.model, second.graded.report.model),
        num_questions=len(shared),
        notes=list(_notes(first, second, shared)),
        pairs=list(_pairs(*paired(first, second))),
    )


def paired(first: Evaluation, second: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Return both evaluations with figures over only the questions that have a sample in both, setting by setting."""
    shared, shares = _shared(first.task, second.task), (first.graded.shares, second.graded.shares)
    names = shares[0].keys() | shares[1].keys()
    questions = {name: shared.intersection(*(settings[name] for settings in shares if name in settings)) for name in names}
    return _among(first, questions), _among(second, questions)


def _among(evaluation: Evaluation, questions: Mapping[str, Collection[str]]) -> Evaluation:
    return replace(evaluation, graded=evaluation.graded.among(questions))


def _shared(first: Task, second: Task) -> set[str]:
    """Return the ids of questions with the same prompt in both tasks."""
    prompts = {question.id: question.prompt for question in first.questions}
    return {question.id for question in second.questions if prompts.get(question.id) == question.prompt}


def _pairs(first: Evaluation, second: Evaluation) -> Iterator[Pair]:
    rows = {row.setting: row for row in first.graded.report.rows}
    for row in second.graded.report.rows:
        if row.setting in rows:
            names = [f"{evaluation.name}: {row.setting}" for evaluation in (first, second)]
            before, after = (evaluation.graded.shares.get(row.setting, {}) for evaluation in (first, second))
            comparison = compare(names[0], names[1], {names[0]: before, names[1]: after})
            if comparison is not None:
                yield Pair(
                    setting=row.setting,
                    accuracies=(fmean(before.values()), fmean(after.values())),
                    thinking_tokens=(rows[row.setting].mean_thinking_tokens, row.mean_thinking_tokens),
                    comparison=comparison,
                )


def _notes(first: Evaluation, second: Evaluation, shared: set[str]) -> Iterator[str]:
    both = (first, second)
    for evaluation in both:
        number = len(evaluation.task.questions)
        if number > len(shared):
            yield f"{evaluation.name}: {number - len(shared)} of its {number} questions are not in both evaluations and are left out"
    graded = [{q.id: (q.expected, q.grading) for q in evaluation.task.questions if q.id in shared} for evaluation in both]
    num_regraded = sum(graded[0][question] != graded[1][question] for question in shared)
    if num_regraded:
        yield f"{num_regraded} questions have a different expected answer or grading in {second.name}"
    options = [dict(evaluation.options) for evaluation in both]
    names = sorted(name for name in options[0].keys() | options[1].keys() if options[0].get(name) != options[1].get(name))
    if names:
        differences = (f"{name} ({options[0].get(name, 'not given')}, {options[1].get(name, 'not given')})" for name in names)
        yield f"their requests had different options: {', '.join(differences)}"
    settings = [{row.setting for row in evaluation.graded.report.rows} for evaluation in both]
    if settings[0] != settings[1]:
        yield f"settings of only one evaluation are not compared: {', '.join(sorted(settings[0] ^ settings[1]))}"
