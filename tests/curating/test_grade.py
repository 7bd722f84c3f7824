# SPDX-License-Identifier: Apache-2.0
"""Answers are graded by the client's graders; a row without an expected answer has no grade."""

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import grade
from budgetforce.curating.grade import GradeSettings


def row(attempt, expected="4", grading="integer", **columns):
    return {"id": attempt, "source": "test", "attempt": attempt, "expected": expected, "grading": grading, "columns": columns}


def verdicts(*rows, **settings):
    return [graded["is_correct"] for graded in grade.run(rows, GradeSettings(**settings)).rows]


def test_wrong_answers_are_kept_as_the_authors_keep_them():
    outcome = grade.run([row("Answer: 4"), row("Answer: 5"), row("4", expected=None, grading=None)], GradeSettings())
    assert [graded["is_correct"] for graded in outcome.rows] == [True, False, None]
    assert outcome.found == {"correct": 1, "wrong": 1, "ungraded": 1}
    assert outcome.dropped == []


def test_a_recipe_can_drop_wrong_and_ungraded_answers():
    rows = [row("Answer: 4"), row("Answer: 5"), row("4", expected=None, grading=None)]
    outcome = grade.run(rows, GradeSettings(on_wrong="drop", on_ungraded="drop"))
    assert [graded["attempt"] for graded in outcome.rows] == ["Answer: 4"]
    assert [(drop.reason, drop.detail) for drop in outcome.dropped] == [
        ("wrong", "expected '4', got 'Answer: 5'"),
        ("ungraded", "expected None, got '4'"),
    ]


def test_formulas_are_compared_by_math_verify():
    assert verdicts(row(r"\boxed{\frac{2}{4}}", r"\frac12", "math"), row(r"\boxed{x}", "y", "math")) == [True, False]


def test_verdicts_of_a_published_set_are_taken_over():
    rows = [row("a", deepseek_grade="Yes"), row("b", deepseek_grade="No"), row("c", deepseek_grade=True), row("d")]
    assert verdicts(*rows, column="deepseek_grade") == [True, False, True, None]
    with pytest.raises(BuildFailed, match='question e: column deepseek_grade: got "Perhaps", allowed: a boolean, Yes, No or null'):
        verdicts(row("e", deepseek_grade="Perhaps"), column="deepseek_grade")


def test_a_column_that_no_row_has_is_refused():
    with pytest.raises(BuildFailed, match="grade.column: got 'deepseek', which no row has; allowed: deepseek_grade, other"):
        verdicts(row("a", deepseek_grade="Yes"), row("b", other=1), column="deepseek")


def test_a_judge_that_is_not_configured_is_a_sentence(monkeypatch):
    monkeypatch.delenv("S1_JUDGE_MODEL", raising=False)
    with pytest.raises(BuildFailed, match=r"stage grade: grading judge needs the model's name in \$S1_JUDGE_MODEL"):
        verdicts(row("a", grading="judge"))
