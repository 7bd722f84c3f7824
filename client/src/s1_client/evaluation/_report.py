# SPDX-License-Identifier: Apache-2.0
"""What a run's samples say: setting by setting, curve by curve, and setting against setting. Pure."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from types import MappingProxyType
from typing import Any

from s1_client.evaluation._effects import effects
from s1_client.evaluation._graders import vote_of
from s1_client.evaluation._intervals import Comparison, Estimate, compare, estimate
from s1_client.evaluation._metrics import Run, control, performance, scaling
from s1_client.evaluation._parallel import best_of, majority, pass_at, powers_up_to
from s1_client.evaluation._protocol import Setting
from s1_client.evaluation._samples import Sample, collect
from s1_client.evaluation._tasks import Question, Task


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
        accuracy: mean over questions of the share of right samples, with its interval (bootstrap over questions).
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
    accuracy: Estimate | None
    majority: Mapping[str, Estimate]
    best_of: Mapping[str, Estimate]
    pass_at: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The paper's metrics of a curve (see ``_metrics``); None where they are not defined.

    Attributes:
        scaling_log2: points of accuracy for each doubling of the thinking, as published.
        scaling_linear: points of accuracy a token, as Eq. 2 reads.
    """

    name: str
    num_settings: int
    control: float | None
    scaling_log2: float | None
    scaling_linear: float | None
    performance: float | None


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
    rows, curves = [_row_of(row) for row in data["rows"]], [Curve(**curve) for curve in data["curves"]]
    return Report(**{**data, "rows": rows, "curves": curves, "comparisons": comparisons})


def _row_of(data: Mapping[str, Any]) -> Row:
    accuracy = None if data["accuracy"] is None else Estimate(**data["accuracy"])
    chosen = {name: {k: Estimate(**one) for k, one in data.get(name, {}).items()} for name in ("majority", "best_of")}
    return Row(**{**data, "accuracy": accuracy, **chosen})


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
    collected = collect(task, settings, entries, scores)
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(collected.samples, key=lambda sample: sample.repeat):
        groups[sample.setting].append(sample)
    asked = [setting for setting in settings if groups[setting.name] or collected.num_failed[setting.name]]
    questions = {question.id: question for question in task.questions}
    rows = [_row(setting, groups[setting.name], collected.num_failed[setting.name], questions) for setting in asked]
    shares = {name: _scores(samples) for name, samples in groups.items()}
    return Report(
        task=task.name,
        model=model,
        presets=collected.presets,
        rows=rows,
        curves=_curves(asked, rows),
        effects=effects([(setting, groups[setting.name]) for setting in asked]),
        comparisons=_comparisons(rows, shares),
    )


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
        accuracy=estimate(scores),
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


# --- curves and pairs -----------------------------------------------------------------------------


def _curves(settings: Sequence[Setting], rows: Sequence[Row]) -> list[Curve]:
    names = list(dict.fromkeys(setting.curve for setting in settings))
    plain = next((row.mean_thinking_tokens for row in rows if row.setting == "budget context"), None)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for setting, row in zip(settings, rows, strict=True):
        if row.mean_thinking_tokens is not None and row.accuracy is not None:
            bounds = _bounds(setting, plain)
            runs[setting.curve].append(Run(thinking_tokens=row.mean_thinking_tokens, accuracy=100 * row.accuracy.value, **bounds))
    return [
        Curve(
            name=name,
            num_settings=len(runs[name]),
            control=control(runs[name]),
            scaling_log2=scaling(runs[name]),
            scaling_linear=scaling(runs[name], is_log2=False),
            performance=performance(runs[name]),
        )
        for name in names
    ]


def _bounds(setting: Setting, plain: float | None) -> dict[str, float | None]:
    """Told to think long or short, a run should be longer or shorter than one that is told nothing, if there is one."""
    if setting.kind == "class":
        return {"least": plain if setting.name.endswith(" long") else None, "most": plain if setting.name.endswith(" short") else None}
    return {"most": setting.most_tokens}


def _comparisons(rows: Sequence[Row], scores: Mapping[str, Mapping[str, float]]) -> list[Comparison]:
    """Each pair of settings that differ in one thing: two of a curve, or two ways to the same limit."""
    pairs = [
        compare(one.setting, other.setting, scores)
        for one, other in combinations(rows, 2)
        if one.kind == other.kind and (one.curve == other.curve or one.limit == other.limit)
    ]
    return [pair for pair in pairs if pair is not None]
