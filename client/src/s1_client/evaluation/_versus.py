# SPDX-License-Identifier: Apache-2.0
"""Two evaluations held against each other, as of two models: setting by setting, paired by question. Pure."""

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
    """An evaluation with its name, and the options that all of its requests had."""

    name: str
    task: Task
    options: Mapping[str, Any]
    graded: Graded


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A setting that both evaluations asked. Accuracies (0 to 1) and mean thinking tokens are over the shared questions alone."""

    setting: str
    accuracies: tuple[float, float]
    thinking_tokens: tuple[float | None, float | None]
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """Two evaluations; ``notes`` say what they differ in beside the model.

    Attributes:
        num_questions: those that both tasks have: of one id and one text.
        pairs: in the order of the second one's settings; differences are second less first.
    """

    names: tuple[str, str]
    models: tuple[str, str]
    num_questions: int
    notes: Sequence[str]
    pairs: Sequence[Pair]

    def to_json(self) -> str:
        """All of it."""
        data = asdict(self)
        for told, pair in zip(data["pairs"], self.pairs, strict=True):
            told["comparison"]["can_be_told_apart"] = pair.comparison.can_be_told_apart
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def versus(first: Evaluation, second: Evaluation) -> Versus:
    """Hold the second against the first one, where both asked the same."""
    shared = _shared(first.task, second.task)
    return Versus(
        names=(first.name, second.name),
        models=(first.graded.report.model, second.graded.report.model),
        num_questions=len(shared),
        notes=list(_notes(first, second, shared)),
        pairs=list(_pairs(*paired(first, second))),
    )


def paired(first: Evaluation, second: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Return both with the figures of the shared questions alone: those with a sample in both, of settings that both asked."""
    shared, shares = _shared(first.task, second.task), (first.graded.shares, second.graded.shares)
    questions = {
        name: shared.intersection(*(of_one[name] for of_one in shares if name in of_one)) for name in shares[0].keys() | shares[1].keys()
    }
    return _among(first, questions), _among(second, questions)


def _among(one: Evaluation, questions: Mapping[str, Collection[str]]) -> Evaluation:
    return replace(one, graded=one.graded.among(questions))


def _shared(first: Task, second: Task) -> set[str]:
    """The ids of questions of one text."""
    prompts = {question.id: question.prompt for question in first.questions}
    return {question.id for question in second.questions if prompts.get(question.id) == question.prompt}


def _pairs(first: Evaluation, second: Evaluation) -> Iterator[Pair]:
    rows = {row.setting: row for row in first.graded.report.rows}
    for row in second.graded.report.rows:
        if row.setting in rows:
            one, other = (f"{evaluation.name}: {row.setting}" for evaluation in (first, second))
            before, after = (evaluation.graded.shares.get(row.setting, {}) for evaluation in (first, second))
            comparison = compare(one, other, {one: before, other: after})
            if comparison is not None:
                yield Pair(
                    setting=row.setting,
                    accuracies=(fmean(before.values()), fmean(after.values())),
                    thinking_tokens=(rows[row.setting].mean_thinking_tokens, row.mean_thinking_tokens),
                    comparison=comparison,
                )


def _notes(first: Evaluation, second: Evaluation, shared: set[str]) -> Iterator[str]:
    for one in (first, second):
        if len(one.task.questions) > len(shared):
            number = len(one.task.questions)
            yield f"{one.name}: {number - len(shared)} of its {number} questions are not in both and are left out"
    graded = [{q.id: (q.expected, q.grading) for q in one.task.questions if q.id in shared} for one in (first, second)]
    num_regraded = sum(graded[0][question] != graded[1][question] for question in shared)
    if num_regraded:
        yield f"{num_regraded} questions have another right answer or another grading in {second.name}"
    options = [dict(one.options) for one in (first, second)]
    names = sorted(name for name in options[0].keys() | options[1].keys() if options[0].get(name) != options[1].get(name))
    if names:
        told = (f"{name} ({options[0].get(name, 'not given')}, {options[1].get(name, 'not given')})" for name in names)
        yield f"their requests had different options: {', '.join(told)}"
    settings = [{row.setting for row in one.graded.report.rows} for one in (first, second)]
    if settings[0] != settings[1]:
        yield f"settings of one alone are not compared: {', '.join(sorted(settings[0] ^ settings[1]))}"
