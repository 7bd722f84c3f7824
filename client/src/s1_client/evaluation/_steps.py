# SPDX-License-Identifier: Apache-2.0
"""The effect of each step of the budget-forcing curve, as sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from s1_client.evaluation._forcing_curve import forcing_curve
from s1_client.evaluation._intervals import Comparison
from s1_client.evaluation._protocol import NO_LIMIT, limit_name
from s1_client.evaluation._report import Report, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Two neighbouring settings of the curve, and their comparison over the questions that both have answered."""

    first: Row
    second: Row
    comparison: Comparison

    def sentence(self) -> str:
        """Return the step with its effect, and whether the questions are enough to see one."""
        pair = self.comparison
        verdict = "" if pair.can_be_told_apart else f"; no effect can be told from chance with these {pair.num_questions} questions"
        return f"{_place(self.first)} → {_place(self.second)}: {pair.figures}{verdict}"


def steps(report: Report) -> Iterator[Step]:
    """Yield the steps: from the smallest budget to the largest, then from each number of refused ends to the next."""
    curve = forcing_curve([row for row in report.rows if row.accuracy])
    if curve is None:
        return
    last = curve.budgets[-1]
    ends = [(curve.budgets[0], last), *(pair for tail in curve.refused.values() for pair in pairwise([last, *tail]))]
    known = {(pair.first, pair.second): pair for pair in report.comparisons}
    for first, second in ends:
        pair = known.get((first.setting, second.setting))
        if pair is not None:
            yield Step(first=first, second=second, comparison=pair)


def _place(row: Row) -> str:
    """Return the place of a setting on the curve: "budget 16", "natural end", "2 refused"."""
    if row.num_ignore:
        return row.setting.partition(" + ")[2]
    return "natural end" if row.limit == NO_LIMIT else f"budget {limit_name(row.limit)}"
