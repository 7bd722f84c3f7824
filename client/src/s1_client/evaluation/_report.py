# SPDX-License-Identifier: Apache-2.0
"""Report an evaluation: a row for each setting, metrics of each curve, and comparisons of settings. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

from s1_client.evaluation._choices import accuracies_of, by_question, by_score, votes_of
from s1_client.evaluation._curves import Curve, curves
from s1_client.evaluation._effects import effects, failures
from s1_client.evaluation._intervals import Comparison, Estimate, compare, estimate
from s1_client.evaluation._parallel import pass_at, powers_up_to
from s1_client.evaluation._protocol import Setting
from s1_client.evaluation._samples import Collected, Sample, collect
from s1_client.evaluation._tasks import Question, Task
from s1_client.evaluation._votes import votes_compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of a setting; shares and accuracies are 0 to 1, and None without a sample.

    Attributes:
        num_samples: slots with a reply, accepted or not.
        num_graded: those of them whose question has an expected answer; the accuracies count no others.
        num_failed: requests without a reply, which no other figure counts.
        num_unaccepted: slots of rejection sampling without an accepted reply; they count as wrong and are in no mean of tokens.
        mean_thinking_tokens, mean_answer_tokens: of accepted replies.
        mean_spent_tokens: thinking and answer tokens of all attempts per slot; of a tree, tokens of all its steps.
        thinking_ends: reason -> number of replies whose thinking ended by it; of trees, whose answer did.
        answer_ends: reason -> number of accepted replies whose answer ended by it.
        share_answers_cut: share of these answers that ended at their cap or with the context.
        max_tokens: the largest cap of an answer that the server applied; None if no reply reports it.
        accuracy: mean over questions of the share of right samples, with its interval (bootstrap over questions).
        accuracy_of_accepted: the same over accepted replies only.
        majority: k -> accuracy of the majority vote of the first k samples, with its interval.
        best_of: k -> accuracy of the sample with the highest reward score among the first k; empty unless all samples have scores.
        pass_at: k -> probability that at least one of k samples is right.
        num_ignore: ends of thinking to refuse.
        median_s: median of the seconds from a reply's start to its last token, on the server.
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
    num_graded: int = 0
    num_ignore: int = 0
    median_s: float | None = None

    @property
    def share_thinking_cut(self) -> float | None:
        """The share of samples whose thinking was cut by the budget; None without a sample."""
        return self.thinking_ends.get("budget", 0) / self.num_samples if self.num_samples else None

    @property
    def share_thinking_natural(self) -> float | None:
        """The share of samples whose thinking the model ended by itself; None without a sample."""
        return self.thinking_ends.get("natural", 0) / self.num_samples if self.num_samples else None


_PLAIN_COLUMNS = (
    *("setting", "kind", "curve", "limit", "num_ignore", "num_questions", "num_samples", "num_graded", "num_failed", "num_unaccepted"),
    *("mean_attempts", "mean_thinking_tokens", "mean_answer_tokens", "mean_spent_tokens", "mean_ignored", "share_thinking_cut"),
    *("share_thinking_natural", "share_answers_cut", "max_tokens", "median_s"),
)
_ACCURACY_COLUMNS = ("accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of an evaluation.

    Attributes:
        effects: sentences about failed requests, and about settings without the intended effect.
        comparisons: refused ends against majority votes, then pairs of settings that differ in one respect.
    """

    task: str
    model: str
    presets: Sequence[str]
    rows: Sequence[Row]
    curves: Sequence[Curve]
    effects: Sequence[str]
    comparisons: Sequence[Comparison]

    def to_csv(self) -> str:
        """Return CSV with a line for each setting: counts, means, shares (0 to 1), and the accuracy with its interval."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*_PLAIN_COLUMNS, *_ACCURACY_COLUMNS])
        for row in self.rows:
            accuracy = ("", "", "") if row.accuracy is None else (row.accuracy.value, row.accuracy.low, row.accuracy.high)
            plain = (getattr(row, name) for name in _PLAIN_COLUMNS)
            writer.writerow(["" if value is None else value for value in (*plain, *accuracy)])
        return text.getvalue()

    def to_json(self) -> str:
        """Return the whole report as indented JSON, which ``report_of`` reads."""
        data = asdict(self)
        for item, comparison in zip(data["comparisons"], self.comparisons, strict=True):
            item["can_be_told_apart"] = comparison.can_be_told_apart
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def report_of(text: str) -> Report:
    """Return the report that ``Report.to_json`` wrote."""
    data = json.loads(text)
    comparisons = [Comparison(**{key: value for key, value in item.items() if key != "can_be_told_apart"}) for item in data["comparisons"]]
    rows, found = [_row_of(row) for row in data["rows"]], [_curve_of(curve) for curve in data["curves"]]
    return Report(**{**data, "rows": rows, "curves": found, "comparisons": comparisons})


def _curve_of(data: Mapping[str, Any]) -> Curve:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Curve(**values)


def _row_of(data: Mapping[str, Any]) -> Row:
    shares = {name: None if data[name] is None else Estimate(**data[name]) for name in ("accuracy", "accuracy_of_accepted")}
    chosen = {name: {k: Estimate(**value) for k, value in data.get(name, {}).items()} for name in ("majority", "best_of")}
    return Row(**{**data, **shares, **chosen})


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A report with the data that it was made from.

    Attributes:
        shares: setting -> question -> share of its samples that are right.
    """

    report: Report
    shares: Mapping[str, Mapping[str, float]]
    task: Task
    settings: Sequence[Setting]
    collected: Collected

    def among(self, questions: Mapping[str, Collection[str]]) -> Graded:
        """Return the report over only these questions; ``questions`` maps a setting's name to ids."""
        kept = [sample for sample in self.collected.samples if sample.question in questions[sample.setting]]
        return _graded(self.task, self.settings, replace(self.collected, samples=kept), self.report.model)


def report(
    task: Task,
    settings: Sequence[Setting],
    entries: Iterable[Mapping[str, Any]],
    *,
    model: str,
    scores: Mapping[str, float] = MappingProxyType({}),
) -> Report:
    """Return the report of result lines, which hold replies or trees; settings without a line are left out.

    ``scores`` maps the id of a sample's line to its score by a reward model.
    """
    return graded(task, settings, entries, model=model, scores=scores).report


def graded(
    task: Task, settings: Sequence[Setting], entries: Iterable[Mapping[str, Any]], *, model: str, scores: Mapping[str, float]
) -> Graded:
    """Return the report of result lines together with the share of right samples of each question."""
    return _graded(task, settings, collect(task, settings, entries, scores), model)


def _graded(task: Task, settings: Sequence[Setting], collected: Collected, model: str) -> Graded:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(collected.samples, key=lambda sample: sample.repeat):
        groups[sample.setting].append(sample)
    results = [(setting, groups[setting.name]) for setting in settings if groups[setting.name] or collected.num_failed[setting.name]]
    graded_results = [(setting, [sample for sample in samples if sample.is_graded]) for setting, samples in results]
    questions = {question.id: question for question in task.questions}
    rows = [_row(setting, samples, collected.num_failed[setting.name], questions) for setting, samples in results]
    shares = {setting.name: _scores(samples) for setting, samples in graded_results}
    found = Report(
        task=task.name,
        model=model,
        presets=collected.presets,
        rows=rows,
        curves=curves(graded_results),
        effects=[*failures(results, collected.num_failed), *effects(results)],
        comparisons=[*votes_compared(graded_results, questions, shares), *_comparisons(rows, shares)],
    )
    return Graded(report=found, shares=shares, task=task, settings=settings, collected=collected)


def _scores(samples: Sequence[Sample]) -> dict[str, float]:
    """Return question -> share of its samples that are right, of the questions that are graded."""
    graded_samples = by_question([sample for sample in samples if sample.is_graded])
    return {question: fmean(sample.is_right for sample in found) for question, found in graded_samples.items()}


def _row(setting: Setting, samples: Sequence[Sample], num_failed: int, questions: Mapping[str, Question]) -> Row:
    accepted = [sample for sample in samples if sample.is_accepted]
    votes = by_question([sample for sample in samples if sample.is_graded])
    least = min((len(found) for found in votes.values()), default=0)
    counts = powers_up_to(least) if least > 1 else []
    is_scored = bool(accepted) and all(sample.score is not None for sample in accepted)
    return Row(
        setting=setting.name,
        kind=setting.kind,
        curve=setting.curve,
        limit=setting.limit,
        num_questions=len(by_question(samples)),
        num_samples=len(samples),
        num_graded=sum(sample.is_graded for sample in samples),
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
        accuracy=estimate(list(_scores(samples).values())),
        accuracy_of_accepted=estimate(list(_scores(accepted).values())),
        majority=accuracies_of(counts, votes, votes_of(questions)),
        best_of=accuracies_of(counts if is_scored else [], votes, by_score),
        pass_at={
            str(k): fmean(pass_at(k, num_right=sum(sample.is_right for sample in found), number=len(found)) for found in votes.values())
            for k in counts
        },
        num_ignore=setting.num_ignore,
        median_s=_median([sample.duration_s for sample in samples if sample.duration_s is not None]),
    )


def _median(numbers: Sequence[float]) -> float | None:
    return median(numbers) if numbers else None


def _mean(numbers: Sequence[float]) -> float | None:
    return fmean(numbers) if numbers else None


def _comparisons(rows: Sequence[Row], scores: Mapping[str, Mapping[str, float]]) -> list[Comparison]:
    """Compare settings that differ in one respect: two points of a curve, or two curves at the same limit."""
    pairs = [
        compare(first.setting, second.setting, scores)
        for first, second in combinations(rows, 2)
        if first.kind == second.kind and (first.curve == second.curve or first.limit == second.limit)
    ]
    return [pair for pair in pairs if pair is not None]
