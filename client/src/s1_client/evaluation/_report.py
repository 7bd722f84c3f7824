# SPDX-License-Identifier: Apache-2.0
"""What a run's samples say: setting by setting, curve by curve, and setting against setting. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean
from types import MappingProxyType
from typing import Any

from s1_client.evaluation._curves import Curve, curves
from s1_client.evaluation._effects import effects
from s1_client.evaluation._intervals import Comparison, Estimate, compare, estimate
from s1_client.evaluation._parallel import best_of, majority, pass_at, powers_up_to
from s1_client.evaluation._protocol import Setting
from s1_client.evaluation._samples import Collected, Sample, collect
from s1_client.evaluation._tasks import Question, Task
from s1_client.evaluation.grading.graders import vote_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of a setting; shares and accuracies are 0 to 1, and None without a sample.

    Attributes:
        num_samples: slots with a reply, accepted or not.
        num_failed: requests without one, which are in no other figure.
        num_unaccepted: slots of a rejection that never had a reply to accept; wrong ones, and in no mean of tokens.
        mean_thinking_tokens, mean_answer_tokens: of accepted replies.
        mean_spent_tokens: thinking and answers of all attempts, a slot; of a tree, all of its steps.
        thinking_ends: how many ended how; of trees, their answers.
        answer_ends: how many answers ended how, of accepted replies.
        share_answers_cut: of these, how many the cap of the answer, or the context, cut.
        max_tokens: the largest cap of the answer that was applied; None where no reply tells it.
        accuracy: mean over questions of the share of right samples, with its interval (bootstrap over questions).
        accuracy_of_accepted: the same over accepted replies alone.
        majority: k -> accuracy of the vote of the first k samples, likewise.
        best_of: the same of that with the highest score of a reward model; empty unless all samples have one.
        pass_at: k -> chance that one of k is right.
    """

    setting: str
    kind: str
    curve: str
    limit: int
    num_questions: int
    num_samples: int
    num_failed: int
    num_unaccepted: int
    mean_attempts: float | None
    mean_thinking_tokens: float | None
    mean_answer_tokens: float | None
    mean_spent_tokens: float | None
    mean_ignored: float | None
    thinking_ends: Mapping[str, int]
    answer_ends: Mapping[str, int]
    share_answers_cut: float | None
    max_tokens: int | None
    accuracy: Estimate | None
    accuracy_of_accepted: Estimate | None
    majority: Mapping[str, Estimate]
    best_of: Mapping[str, Estimate]
    pass_at: Mapping[str, float]

    @property
    def share_thinking_cut(self) -> float | None:
        """How many thoughts the budget cut, of all samples."""
        return self.thinking_ends.get("budget", 0) / self.num_samples if self.num_samples else None


_PLAIN_COLUMNS = (
    *("setting", "kind", "curve", "limit", "num_questions", "num_samples", "num_failed", "num_unaccepted", "mean_attempts"),
    *("mean_thinking_tokens", "mean_answer_tokens", "mean_spent_tokens", "mean_ignored", "share_thinking_cut", "share_answers_cut"),
    "max_tokens",
)
_ACCURACY_COLUMNS = ("accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run. ``effects`` are sentences on settings that did nothing; ``comparisons`` hold pairs of settings."""

    task: str
    model: str
    presets: Sequence[str]
    rows: Sequence[Row]
    curves: Sequence[Curve]
    effects: Sequence[str]
    comparisons: Sequence[Comparison]

    def to_csv(self) -> str:
        """A line for each setting: its counts, means and shares (0 to 1), and what is over accepted replies."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*_PLAIN_COLUMNS, *_ACCURACY_COLUMNS])
        for row in self.rows:
            accuracy = ("", "", "") if row.accuracy is None else (row.accuracy.value, row.accuracy.low, row.accuracy.high)
            plain = (getattr(row, name) for name in _PLAIN_COLUMNS)
            writer.writerow(["" if value is None else value for value in (*plain, *accuracy)])
        return text.getvalue()

    def to_json(self) -> str:
        """All of it."""
        data = asdict(self)
        for told, one in zip(data["comparisons"], self.comparisons, strict=True):
            told["can_be_told_apart"] = one.can_be_told_apart
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def report_of(text: str) -> Report:
    """The report out of ``Report.to_json``."""
    data = json.loads(text)
    comparisons = [Comparison(**{key: value for key, value in one.items() if key != "can_be_told_apart"}) for one in data["comparisons"]]
    rows, found = [_row_of(row) for row in data["rows"]], [_curve_of(curve) for curve in data["curves"]]
    return Report(**{**data, "rows": rows, "curves": found, "comparisons": comparisons})


def _curve_of(data: Mapping[str, Any]) -> Curve:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Curve(**values)


def _row_of(data: Mapping[str, Any]) -> Row:
    shares = {name: None if data[name] is None else Estimate(**data[name]) for name in ("accuracy", "accuracy_of_accepted")}
    chosen = {name: {k: Estimate(**one) for k, one in data.get(name, {}).items()} for name in ("majority", "best_of")}
    return Row(**{**data, **shares, **chosen})


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A report, setting -> question -> share of its samples that are right, and what both were made of."""

    report: Report
    shares: Mapping[str, Mapping[str, float]]
    task: Task
    settings: Sequence[Setting]
    collected: Collected

    def among(self, questions: Mapping[str, Collection[str]]) -> Graded:
        """Return the same over these questions of each setting alone."""
        kept = [one for one in self.collected.samples if one.question in questions[one.setting]]
        return _graded(self.task, self.settings, replace(self.collected, samples=kept), self.report.model)


def report(
    task: Task,
    settings: Sequence[Setting],
    entries: Iterable[Mapping[str, Any]],
    *,
    model: str,
    scores: Mapping[str, float] = MappingProxyType({}),
) -> Report:
    """The report of a run's lines of results, replies and trees. Settings without any are left out.

    ``scores`` are those of a reward model, by the id of a sample's line.
    """
    return graded(task, settings, entries, model=model, scores=scores).report


def graded(
    task: Task, settings: Sequence[Setting], entries: Iterable[Mapping[str, Any]], *, model: str, scores: Mapping[str, float]
) -> Graded:
    """The same with what each question came to."""
    return _graded(task, settings, collect(task, settings, entries, scores), model)


def _graded(task: Task, settings: Sequence[Setting], collected: Collected, model: str) -> Graded:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(collected.samples, key=lambda sample: sample.repeat):
        groups[sample.setting].append(sample)
    asked = [(setting, groups[setting.name]) for setting in settings if groups[setting.name] or collected.num_failed[setting.name]]
    questions = {question.id: question for question in task.questions}
    rows = [_row(setting, samples, collected.num_failed[setting.name], questions) for setting, samples in asked]
    shares = {name: _scores(samples) for name, samples in groups.items()}
    found = Report(
        task=task.name,
        model=model,
        presets=collected.presets,
        rows=rows,
        curves=curves(asked),
        effects=effects(asked),
        comparisons=_comparisons(rows, shares),
    )
    return Graded(report=found, shares=shares, task=task, settings=settings, collected=collected)


def _scores(samples: Sequence[Sample]) -> dict[str, float]:
    """Question -> share of its samples that are right."""
    right: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        right[sample.question].append(sample.is_right)
    return {question: fmean(found) for question, found in right.items()}


def _row(setting: Setting, samples: Sequence[Sample], num_failed: int, questions: Mapping[str, Question]) -> Row:
    accepted = [sample for sample in samples if sample.is_accepted]
    scores = list(_scores(samples).values())
    votes = _by_question(samples)
    least = min((len(found) for found in votes.values()), default=0)
    counts = powers_up_to(least) if least > 1 else []
    is_scored = bool(accepted) and all(sample.score is not None for sample in accepted)
    return Row(
        setting=setting.name,
        kind=setting.kind,
        curve=setting.curve,
        limit=setting.limit,
        num_questions=len(scores),
        num_samples=len(samples),
        num_failed=num_failed,
        num_unaccepted=len(samples) - len(accepted),
        mean_attempts=_mean([sample.num_attempts for sample in samples]),
        mean_thinking_tokens=_mean([sample.num_thinking_tokens for sample in accepted]),
        mean_answer_tokens=_mean([sample.num_answer_tokens for sample in accepted]),
        mean_spent_tokens=_mean([sample.num_spent_tokens for sample in samples]),
        mean_ignored=_mean([sample.num_ignored for sample in accepted]),
        thinking_ends=dict(Counter(sample.thinking_end for sample in samples)),
        answer_ends=dict(Counter(sample.answer_end for sample in accepted if sample.answer_end)),
        share_answers_cut=_mean([sample.is_answer_cut for sample in accepted if sample.answer_end]),
        max_tokens=max((sample.max_tokens for sample in accepted if sample.max_tokens is not None), default=None),
        accuracy=estimate(scores),
        accuracy_of_accepted=estimate(list(_scores(accepted).values())),
        majority=_first(counts, votes, lambda question, found: _vote(questions[question], found)),
        best_of=_first(counts if is_scored else [], votes, _best),
        pass_at={
            str(k): fmean(pass_at(k, num_right=sum(one.is_right for one in found), number=len(found)) for found in votes.values())
            for k in counts
        },
    )


def _first(
    counts: Sequence[int], votes: Mapping[str, Sequence[Sample]], choose: Callable[[str, Sequence[Sample]], bool]
) -> dict[str, Estimate]:
    """How often what is chosen of a question's first k samples is right, by k."""
    return {str(k): won for k in counts if (won := estimate([choose(question, found[:k]) for question, found in votes.items()]))}


def _by_question(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.question].append(sample)
    return found


def _vote(question: Question, samples: Sequence[Sample]) -> bool:
    said = [sample.answer if sample.is_accepted else "" for sample in samples]
    winner = majority(said, vote_of(question.grading))
    return winner is not None and samples[winner].is_right


def _best(_: str, samples: Sequence[Sample]) -> bool:
    """What was not accepted is not chosen."""
    scored = [(sample.score, sample) for sample in samples if sample.is_accepted and sample.score is not None]
    return bool(scored) and best_of(scored, lambda one: one[0])[1].is_right


def _mean(numbers: Sequence[float]) -> float | None:
    return fmean(numbers) if numbers else None


def _comparisons(rows: Sequence[Row], scores: Mapping[str, Mapping[str, float]]) -> list[Comparison]:
    """Each pair of settings that differ in one thing: two of a curve, or two ways to the same limit."""
    pairs = [
        compare(one.setting, other.setting, scores)
        for one, other in combinations(rows, 2)
        if one.kind == other.kind and (one.curve == other.curve or one.limit == other.limit)
    ]
    return [pair for pair in pairs if pair is not None]
