# SPDX-License-Identifier: Apache-2.0
"""Tasks of generated puzzles: which questions they hold, and what is refused."""

import hashlib
from collections import Counter

import pytest

from s1_client.evaluation import BadTask, load_task
from s1_client.evaluation.tasks.puzzles import FAMILIES, is_held_out, puzzles


def families(task):
    return [question.id.partition("-")[0] for question in task.questions]


def test_a_family_is_a_task_of_held_out_puzzles_with_integers_as_answers():
    task = load_task("chain", num_questions=20, seed=3)
    drawn = [next(found) for found in [puzzles("chain", 3, held_out=True)] for _ in range(20)]
    assert [(question.prompt, question.expected) for question in task.questions] == [(one.question, one.answer) for one in drawn]
    assert all(is_held_out(one.core) for one in drawn)
    assert {question.grading for question in task.questions} == {"integer"}
    assert task.questions[0].is_right(f" Final Answer: {drawn[0].answer}")
    assert len(load_task("sums").questions) == 300


@pytest.mark.parametrize(("name", "expected"), [("puzzles", FAMILIES), ("sums,letters", ("sums", "letters"))])
def test_several_families_come_in_turn(name, expected):
    found = families(load_task(name, num_questions=100))
    assert tuple(found[: len(expected)]) == expected
    counts = Counter(found)
    assert counts.keys() == set(expected) and max(counts.values()) - min(counts.values()) <= 1


def test_more_questions_add_to_the_same_and_another_seed_draws_others():
    few, many, others = (load_task("puzzles", num_questions=number, seed=seed).questions for number, seed in ((9, 0), (30, 0), (30, 1)))
    assert many[:9] == few
    assert len({question.id for question in many}) == 30
    assert not {question.id for question in many} & {question.id for question in others}


def test_an_id_belongs_to_the_problem():
    """Records of evaluations name questions by it, so it must not change from release to release."""
    (question,) = load_task("sums", num_questions=1, seed=0).questions
    core = next(puzzles("sums", 0, held_out=True)).core
    assert load_task("puzzles", num_questions=3, seed=0).questions[2].id == question.id
    assert question.id == f"sums-{hashlib.sha256(core.encode()).hexdigest()[:12]}"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("letters,letters", {}), "task: got 'letters,letters', allowed: each of letters, chain, sums at most once"),
        (("letters", {"num_questions": 0}), "num_questions: got 0, allowed: 1 to 10000"),
        (
            ("arithmetic", {"num_questions": 9}),
            "num_questions: got 9 with task 'arithmetic', allowed with a generated task: letters, chain",
        ),
        (("s1_arithmetic", {"seed": 1}), "seed: got 1 with task 's1_arithmetic', allowed with a generated task"),
        (("letters,words", {}), "task: got 'letters,words', allowed: arithmetic, letters, chain, sums, puzzles, s1_aime24"),
    ],
)
def test_what_draws_no_puzzles_is_refused(arguments, problem):
    name, options = arguments
    with pytest.raises(BadTask) as refused:
        load_task(name, **options)
    assert problem in str(refused.value)
