# SPDX-License-Identifier: Apache-2.0
"""Tasks: the one that comes with the package, and those of files."""

import json

import pytest

from s1_client.evaluation import BadTask, load_task
from s1_client.evaluation._tasks import read_questions, task_of
from s1_client.evaluation.tasks import arithmetic


def test_the_bundled_task_is_what_its_script_writes():
    assert arithmetic.FILE.read_text() == arithmetic.text()


def test_the_bundled_task_has_different_questions_and_right_references():
    questions = load_task("arithmetic").questions
    assert len({question.prompt for question in questions}) == len(questions) == 40
    for question in questions[:16]:
        expression = question.prompt.removeprefix("What is ").removesuffix("?")
        assert question.expected == eval(expression)
        assert question.is_right(f"That is {question.expected}.")


def test_a_task_comes_back_out_of_json():
    task = load_task("arithmetic")
    assert task_of(json.loads(json.dumps(task.to_dict()))).to_dict() == task.to_dict()


@pytest.mark.parametrize(("expected", "grading"), [(7, "integer"), ("-7", "integer"), ("B", "letter"), ("Paris", "text"), (0.5, "text")])
def test_without_a_grading_the_reference_decides(expected, grading):
    (question,) = read_questions([json.dumps({"prompt": "?", "expected": expected})], "file")
    assert question.grading == grading


def test_a_mended_reference_is_no_other_task(tmp_path):
    digests = set()
    for expected in (1, 2):
        (tmp_path / "task.jsonl").write_text(json.dumps({"prompt": "?", "expected": expected}))
        digests.add(load_task(str(tmp_path / "task.jsonl")).digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["{"], "file:1"),
        (["[]"], "allowed: a JSON object with prompt, expected, id, grading"),
        (['{"prompt": "?", "expected": 1, "answer": 1}'], "allowed: a JSON object with"),
        (['{"prompt": " ", "expected": 1}'], "prompt: allowed"),
        (['{"prompt": "?", "expected": null}'], "expected: allowed"),
        (['{"prompt": "?", "expected": 1, "id": 1.5}'], "id: got 1.5"),
        (['{"prompt": "?", "expected": 1, "grading": "luck"}'], "grading: got 'luck', allowed: integer, letter, math, judge, text"),
        (['{"prompt": "?", "expected": 1, "id": 2}', "", '{"prompt": "!", "expected": 1, "id": "2"}'], "file:3: id '2' is there twice"),
        ([""], "no question"),
    ],
)
def test_a_bad_task_is_refused_saying_where_and_why(lines, problem):
    with pytest.raises(BadTask) as refused:
        read_questions(lines, "file")
    assert problem in str(refused.value)


def test_a_task_that_is_not_there_is_refused_naming_those_that_are(tmp_path):
    with pytest.raises(BadTask, match="allowed: arithmetic, s1_aime24, .*s1_math500, or a file"):
        load_task(str(tmp_path / "none"))
