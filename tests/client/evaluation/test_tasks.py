# SPDX-License-Identifier: Apache-2.0
"""Tasks: the bundled task, and tasks from files."""

import hashlib
import io
import json
import os

import pytest

from s1_client.evaluation import BadTask, load_task
from s1_client.evaluation._tasks import read_questions, task_of
from s1_client.evaluation.tasks import arithmetic

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


def read(*lines, where="file"):
    """Return the questions of lines, each a text or a value to write as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    return read_questions(io.BytesIO("\n".join(texts).encode()), where)


def test_the_bundled_task_is_current_with_its_script():
    assert arithmetic.FILE.read_text() == arithmetic.text()


def test_the_bundled_task_has_different_questions_and_right_references():
    questions = load_task("arithmetic").questions
    assert len({question.prompt for question in questions}) == len(questions) == 40
    for question in questions[:16]:
        expression = question.prompt.removeprefix("What is ").removesuffix("?")
        assert question.expected == eval(expression)
        assert question.is_right(f"That is {question.expected}.")


def test_a_task_survives_conversion_to_json():
    task = load_task("arithmetic")
    assert task_of(json.loads(json.dumps(task.to_dict()))).to_dict() == task.to_dict()


@pytest.mark.parametrize(("expected", "grading"), [(7, "integer"), ("-7", "integer"), ("B", "letter"), ("Paris", "text"), (0.5, "text")])
def test_without_a_grading_the_reference_decides(expected, grading):
    (question,) = read({"prompt": "?", "expected": expected})
    assert question.grading == grading


def test_a_corrected_reference_keeps_the_digest(tmp_path):
    digests = set()
    for expected in (1, 2):
        (tmp_path / "task.jsonl").write_text(json.dumps({"prompt": "?", "expected": expected}))
        digests.add(load_task(str(tmp_path / "task.jsonl")).digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["{"], "file:1"),
        (['{"prompt": "?", "expected": 1}', "7"], "file:2: got 7, allowed: a JSON object"),
        (["prompt,expected", "?,1"], "file:1: not JSON Lines, and nothing below was read"),
        (
            ['{"prompt": "?", "expected": 1, "answer": 1}'],
            "file:1: unknown key 'answer', did you mean 'expected'?; known: prompt, messages",
        ),
        (['{"prompt": "?", "expectd": 1}'], "file:1: unknown key 'expectd', did you mean 'expected'?"),
        (['{"prompt": "?", "messages": [{"role": "user", "content": "?"}], "expected": 1}'], "file:1: both 'prompt' and 'messages'"),
        (['{"prompt": "?", "expected": 1, "num_ignore": 1}'], "file:1: num_ignore: not allowed in a question"),
        (['{"prompt": "?", "expected": 1, "max_tokens": "lots"}'], "file:1: max_tokens: got 'lots', allowed: an integer"),
        (
            ['{"prompt": "?", "expected": "half", "grading": "integer"}'],
            "expected: got 'half', allowed with grading integer: a whole number",
        ),
        (['{"prompt": "?", "expected": 7.5, "grading": "integer"}'], "expected: got '7.5', allowed with grading integer: a whole number"),
        (['{"prompt": "?", "expected": "BC", "grading": "letter"}'], "expected: got 'BC', allowed with grading letter: one letter"),
        (['{"prompt": "?", "expected": 1}', "{", '{"expected": 1}'], "file:2: not JSON: Expecting property name"),
        (['{"prompt": "?", "expected": 1}', "{", '{"expected": 1}'], "file:3: neither 'prompt' nor 'messages'"),
        (['{"prompt": " ", "expected": 1}'], "prompt: empty, allowed: text"),
        (['{"prompt": "?", "expected": null}'], "expected: missing"),
        (['{"prompt": "?", "expected": [1]}'], "expected: got [1], allowed: a number, or text"),
        (['{"prompt": "?", "expected": 1, "id": 1.5}'], "id: got 1.5"),
        (['{"prompt": "?", "expected": 1, "grading": "luck"}'], 'grading: got "luck", allowed: integer, letter, math, judge, text'),
        (['{"prompt": "?", "expected": 1, "id": 2}', "", '{"prompt": "!", "expected": 1, "id": "2"}'], "file:3: duplicate id '2'"),
        ([""], "no question"),
    ],
)
def test_a_bad_task_is_refused_saying_where_and_why(lines, problem):
    with pytest.raises(BadTask) as refused:
        read(*lines)
    assert problem in str(refused.value)


def test_a_message_lists_at_most_ten_problems():
    with pytest.raises(BadTask) as refused:
        read(*["{}"] * 30)
    assert len(str(refused.value).splitlines()) == 11 and str(refused.value).endswith("and 20 more problems, 30 in all")


def test_a_question_may_be_a_chat_with_options_of_its_own():
    (question,) = read({"messages": CHAT, "expected": 4, "max_tokens": 9, "temperature": None, "meta": "mine"})
    assert (question.prompt, dict(question.options)) == (CHAT, {"max_tokens": 9, "temperature": None})


def test_options_of_questions_are_a_part_of_the_task_and_no_options_change_nothing(tmp_path):
    path = tmp_path / "task.jsonl"
    digests = []
    for more in ({}, {"meta": 1}, {"max_tokens": 9}):
        path.write_text(json.dumps({"prompt": "?", "expected": 1, **more}))
        digests.append(load_task(str(path)).digest())
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] == hashlib.sha256(b'[["q1", "?"]]').hexdigest()[:16]


@pytest.mark.parametrize(
    "lines",
    [
        ['[{"prompt": "a", "expected": 1}, {"prompt": "b", "expected": 2}]'],
        ["[", '{"prompt": "a", "expected": 1},', '{"prompt": "b", "expected": 2}', "]"],
    ],
)
def test_a_json_array_is_a_task(lines):
    questions = read(*lines)
    assert [question.prompt for question in questions] == ["a", "b"] and len({question.id for question in questions}) == 2


def test_a_line_separator_in_a_prompt_is_no_end_of_a_line(tmp_path):
    path = tmp_path / "task.jsonl"
    prompt = "a\N{LINE SEPARATOR}b\N{NEXT LINE}c"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"prompt": prompt, "expected": 1}, ensure_ascii=False).encode() + b"\r\n\r\n")
    (question,) = load_task(str(path)).questions
    assert question.prompt == prompt


def test_a_pipe_is_a_task():
    """A shell's <(command) is such a pipe."""
    reader, writer = os.pipe()
    os.write(writer, b'[{"prompt": "a", "expected": 1},\n{"prompt": "b", "expected": 2}]')
    os.close(writer)
    assert [question.prompt for question in load_task(f"/dev/fd/{reader}").questions] == ["a", "b"]
    os.close(reader)


def test_a_task_that_is_not_there_is_refused_naming_those_that_are(tmp_path):
    with pytest.raises(BadTask, match="allowed: arithmetic, letters, chain, sums, puzzles, s1_aime24, .*s1_math500, or a file"):
        load_task(str(tmp_path / "none"))
