# SPDX-License-Identifier: Apache-2.0
"""The comparison of two evaluations: pairs, and notes about everything that is not paired."""

import json
from dataclasses import replace

from client.evaluation.made import TASK, entries, reply
from s1_client.evaluation import Protocol, Task
from s1_client.evaluation._report import graded
from s1_client.evaluation._versus import Evaluation, paired, versus


def evaluation(name, grades, *, budgets=(16,), task=TASK, options=None, model="s1"):
    """Return an evaluation with a reply to each question at each budget, right where ``grades`` has a 1."""
    protocol = Protocol(budgets=budgets)
    lines = [
        line
        for budget in budgets
        for line in entries(f"budget {budget}", *(reply("7" if grade == "1" else "8", thought=budget) for grade in grades))
    ]
    found = graded(task, protocol.settings(), lines, model=model, scores={})
    return Evaluation(name=name, task=task, options=options or {}, graded=found)


def test_a_setting_of_two_models_is_compared_question_by_question():
    found = versus(evaluation("small", "00000011"), evaluation("large", "01111111", model="s1.1"))
    (pair,) = found.pairs
    assert (pair.setting, pair.accuracies, pair.thinking_tokens) == ("budget 16", (0.25, 0.875), (16, 16))
    assert (pair.comparison.num_different, pair.comparison.difference) == (5, 0.625)
    assert (found.models, found.num_questions, found.notes) == (("s1", "s1.1"), 8, [])
    assert "large: budget 16" in pair.comparison.sentence()
    assert json.loads(found.to_json())["pairs"][0]["comparison"]["can_be_told_apart"] is False


def test_only_questions_with_the_same_prompt_are_paired():
    """Equal ids are not enough: ids of files without ids are line numbers."""
    others = tuple(replace(question, prompt="another?") if question.id in ("q0", "q1") else question for question in TASK.questions)
    found = versus(evaluation("a", "11000000"), evaluation("b", "00000000", task=Task(name="made", questions=others)))
    (pair,) = found.pairs
    assert (found.num_questions, pair.comparison.num_questions, pair.accuracies) == (6, 6, (0, 0))
    assert "a: 2 of its 8 questions are not in both evaluations and are left out" in found.notes


def test_thinking_is_of_the_shared_questions_as_accuracies_are():
    """The mean over each model's own questions would cover other questions than the accuracy."""
    lines = entries("budget 16", *(reply("7", thought=thought) for thought in (2, 4, 16, 16)))
    first = replace(evaluation("a", ""), graded=graded(TASK, Protocol(budgets=(16,)).settings(), lines, model="s1", scores={}))
    second = evaluation("b", "11", task=Task(name="made", questions=TASK.questions[:2]))
    (pair,) = versus(first, second).pairs
    assert (pair.accuracies, pair.thinking_tokens) == ((1, 1), (3, 16))
    (drawn, _) = (evaluation.graded.report.rows for evaluation in paired(first, second))
    assert [(row.mean_thinking_tokens, row.num_questions) for row in drawn] == [(3, 2)]


def test_other_differences_are_noted():
    regraded = tuple(replace(question, expected=8) if question.id == "q0" else question for question in TASK.questions)
    second = evaluation("b", "11", task=Task(name="made", questions=regraded), budgets=(16, 32), options={"max_tokens": 9})
    found = versus(evaluation("a", "11", budgets=(16, 64)), second)
    assert found.notes == [
        "1 questions have a different expected answer or grading in b",
        "their requests had different options: max_tokens (not given, 9)",
        "settings of only one evaluation are not compared: budget 32, budget 64",
    ]
    assert [pair.setting for pair in found.pairs] == ["budget 16"]


def test_evaluations_without_a_common_question_have_no_pairs():
    other = Task(name="other", questions=tuple(replace(question, id=f"x{question.id}") for question in TASK.questions))
    found = versus(evaluation("a", "11"), evaluation("b", "11", task=other))
    assert (found.num_questions, found.pairs) == (0, [])
