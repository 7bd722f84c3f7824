# SPDX-License-Identifier: Apache-2.0
"""What the replies of a sweep say, setting by setting. Opens what it is told to, asks nothing."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import fmean, median
from typing import Any

from s1_client.evaluation._intervals import wilson
from s1_client.evaluation._samples import CUT
from s1_client.evaluation.grading.graders import grade, grading_of
from s1_client.evaluation.grading.judge import Ungraded


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of a setting. Means, shares and the median are over its replies, and None without one.

    Attributes:
        mean_ends_refused: how often "Wait" was put in.
        share_cut: thinking ended by the budget; other ends are in ``thinking_ends``.
        share_answers_cut: the answer ended at its cap, or with the context; other ends are in ``answer_ends``.
        num_graded: replies whose right answer is known.
        num_ungraded: those among them that nobody could hold against it (see ``Ungraded``); they count as wrong.
        accuracy: right ones among those that are graded, with its 95% interval.
        median_s: from the start of a reply to its last token, on the server.
    """

    max_thinking_tokens: int
    num_ignore: int
    num_replies: int
    num_failed: int
    mean_thinking_tokens: float | None
    mean_answer_tokens: float | None
    mean_ends_refused: float | None
    share_cut: float | None
    share_natural: float | None
    share_answers_cut: float | None
    num_graded: int
    num_right: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    median_s: float | None
    thinking_ends: Mapping[str, int]
    answer_ends: Mapping[str, int]
    num_ungraded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A sweep.

    Attributes:
        presets: those that the server applied; one, as a rule.
        rows: by number of ignores, then by budget.
    """

    sweep: str
    model: str
    presets: Sequence[str]
    num_questions: int
    rows: Sequence[Row]

    @property
    def is_graded(self) -> bool:
        """Whether right answers are known."""
        return any(row.num_graded for row in self.rows)

    def cut_answers(self) -> str | None:
        """A sentence on answers that were cut; None if none was."""
        cut = [row for row in self.rows if row.share_answers_cut]
        if not cut:
            return None
        worst = max(cut, key=lambda row: row.share_answers_cut or 0.0)
        at = f"budget {budget_name(worst.max_thinking_tokens)}, num_ignore {worst.num_ignore}"
        most = f"in {len(cut)} of {len(self.rows)} settings, most at {at}: {worst.answer_ends[CUT]} of {worst.num_replies}"
        graded = "; they are graded as far as they go: a larger --max-tokens may change every accuracy here" if self.is_graded else ""
        return f"answers were cut by max_tokens {most}{graded}"

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def to_csv(self) -> str:
        """The rows, without the counts of all ends."""
        names = [one.name for one in fields(Row) if not one.name.endswith("_ends")]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()


@dataclass(slots=True)
class _Collected:
    """The replies of a setting, as numbers."""

    thinking: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    answer_ends: Counter[str] = field(default_factory=Counter)
    grades: list[bool] = field(default_factory=list)
    num_failed: int = 0
    num_ungraded: int = 0

    def add(self, reply: Mapping[str, Any], question: Mapping[str, Any]) -> None:
        result = reply["result"]
        usage = result["usage"]
        self.thinking.append(usage["num_thinking_tokens"])
        self.answers.append(usage["num_answer_tokens"])
        self.refused.append(usage["num_ignored"])
        self.seconds.append(result["total_ms"] / 1e3)
        self.ends[result["thinking_end"]] += 1
        self.answer_ends[result["answer_end"]] += 1
        try:
            is_right = _grade(reply["answer"], question)
        except Ungraded:
            is_right = False
            self.num_ungraded += 1
        self.grades += [] if is_right is None else [is_right]

    def row(self, budget: int, ignore: int) -> Row:
        number, num_graded, num_right = len(self.thinking), len(self.grades), sum(self.grades)
        low, high = wilson(num_right, num_graded) if num_graded else (None, None)
        return Row(
            max_thinking_tokens=budget,
            num_ignore=ignore,
            num_replies=number,
            num_failed=self.num_failed,
            mean_thinking_tokens=_mean(self.thinking),
            mean_answer_tokens=_mean(self.answers),
            mean_ends_refused=_mean(self.refused),
            share_cut=self.ends["budget"] / number if number else None,
            share_natural=self.ends["natural"] / number if number else None,
            share_answers_cut=self.answer_ends[CUT] / number if number else None,
            num_graded=num_graded,
            num_right=num_right,
            accuracy=num_right / num_graded if num_graded else None,
            accuracy_low=low,
            accuracy_high=high,
            median_s=median(self.seconds) if number else None,
            thinking_ends=dict(self.ends),
            answer_ends=dict(self.answer_ends),
            num_ungraded=self.num_ungraded,
        )


def summarise(sweep: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> Summary:
    """The summary of a sweep (see ``Grid.to_dict``) and its lines of results."""
    questions = {str(question["key"]): question for question in sweep["questions"]}
    settings: dict[tuple[int, int], _Collected] = {}
    presets: set[str] = set()
    for entry in entries:
        meta = entry["meta"]
        collected = settings.setdefault((meta["num_ignore"], meta["max_thinking_tokens"]), _Collected())
        if "reply" in entry:
            collected.add(entry["reply"], questions.get(str(meta["question"]), {}))
            presets.add(str(entry["reply"]["result"]["effective"].get("preset", "")))
        else:
            collected.num_failed += 1
    rows = [settings[setting].row(setting[1], setting[0]) for setting in sorted(settings, key=_order)]
    return Summary(sweep=sweep["sweep"], model=sweep["model"], presets=sorted(presets - {""}), num_questions=len(questions), rows=rows)


def grades_of(sweep: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool | None]:
    """Return what tells whether the reply of a line of this sweep is right; None where no right answer is known."""
    questions = {str(question["key"]): question for question in sweep["questions"]}

    def grade_line(entry: Mapping[str, Any]) -> bool | None:
        try:
            return _grade(entry["reply"]["answer"], questions.get(str(entry["meta"]["question"]), {}))
        except Ungraded:
            return False

    return grade_line


def _grade(answer: str, question: Mapping[str, Any]) -> bool | None:
    """Return whether the answer is right; None if no right answer is known. Raises Ungraded and JudgeFailed."""
    expected = question.get("expected")
    if expected is None:
        return None
    return grade(question.get("grading") or grading_of(expected), answer, expected)


def _order(setting: tuple[int, int]) -> tuple[int, float]:
    ignore, budget = setting
    return ignore, float("inf") if budget < 0 else budget


def _mean(numbers: Sequence[int]) -> float | None:
    return fmean(numbers) if numbers else None


def budget_name(budget: int) -> str:
    """As it is shown: -1 is what the context allows."""
    return "context" if budget < 0 else str(budget)
