# SPDX-License-Identifier: Apache-2.0
"""Stage ``grade``: whether the teacher's answer equals the expected answer.

Wrong traces are kept by default, as the s1 authors kept them: 46 % of s1K's answers are wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.progress import progress
from budgetforce.curating.rows import Drop, Outcome, Row, column_of
from budgetforce.curating.verdicts import verdict_of
from s1_client.evaluation.grading.graders import NEEDS, grade
from s1_client.evaluation.grading.judge import JudgeFailed, Ungraded


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeSettings:
    """Settings of the stage.

    Attributes:
        column: column of the data set with a verdict to take over, such as ``deepseek_grade``; "" = grade here.
        on_wrong: whether rows with a wrong answer are kept.
        on_ungraded: whether rows are kept whose answer cannot be graded, such as those without an expected answer.
    """

    column: str = ""
    on_wrong: Literal["keep", "drop"] = "keep"
    on_ungraded: Literal["keep", "drop"] = "keep"


def run(rows: Sequence[Row], settings: GradeSettings) -> Outcome:
    """Return the rows with ``is_correct``: null without an expected answer. Raises BuildFailed if nothing can be graded."""
    _check_needs({row["grading"] for row in rows if row["expected"] is not None} if not settings.column else set())
    verdicts = _given(rows, settings.column) if settings.column else [_graded(row) for row in progress("grade", rows)]
    dropped_for = {
        True: "",
        False: "wrong" if settings.on_wrong == "drop" else "",
        None: "ungraded" if settings.on_ungraded == "drop" else "",
    }
    pairs = list(zip(rows, verdicts, strict=True))
    return Outcome(
        rows=[row | {"is_correct": verdict} for row, verdict in pairs if not dropped_for[verdict]],
        dropped=[_drop(row, dropped_for[verdict]) for row, verdict in pairs if dropped_for[verdict]],
        found=_found(verdicts),
    )


def _check_needs(gradings: set[str]) -> None:
    for grading in sorted(gradings & NEEDS.keys()):
        try:
            NEEDS[grading]()
        except (ImportError, JudgeFailed) as error:
            raise BuildFailed(f"stage grade: {error}") from None


def _graded(row: Row) -> bool | None:
    if row["expected"] is None:
        return None
    try:
        return grade(row["grading"], row["attempt"], row["expected"])
    except Ungraded:
        return None
    except (ImportError, JudgeFailed) as error:
        raise BuildFailed(f"stage grade: question {row['id']}: {error}") from None


def _given(rows: Sequence[Row], column: str) -> list[bool | None]:
    found = zip(rows, column_of(rows, column, "grade.column"), strict=True)
    return [verdict_of(value, f"question {row['id']}: column {column}") for row, value in found]


def _drop(row: Row, reason: str) -> Drop:
    detail = f"expected {row['expected']!r}, got {row['attempt'][-80:]!r}"
    return Drop(id=row["id"], source=row["source"], reason=reason, detail=detail)


def _found(verdicts: Sequence[bool | None]) -> dict[str, Any]:
    counts = Counter(verdicts)
    return {"correct": counts[True], "wrong": counts[False], "ungraded": counts[None]}
