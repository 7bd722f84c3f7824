# SPDX-License-Identifier: Apache-2.0
"""The recipes fetch, prompt and grade as intended, on made-up lines of their data sets; lm-evaluation-harness reads them."""

import sys

import datasets
import pytest
from lm_eval.tasks import TaskManager

from s1_client.evaluation import GRADERS, BadTask, load_task
from s1_client.evaluation._recipes import FOLDER
from s1_client.evaluation.recipes import functions

GPQA = {"Question": "Which?", "Correct Answer": " right\n", **{f"Incorrect Answer {n}": f"wrong {n}" for n in (1, 2, 3)}}
ROWS = {  # a line of the data of each, as its columns are on the hub
    "s1_aime24": ({"ID": "2024-I-1", "Problem": "How many?", "Solution": "…", "Answer": 23}, "train"),
    "s1_aime25": ({"id": "0", "problem": "How many?", "answer": "023"}, "test"),
    "s1_math500": ({"problem": "How many?", "answer": r"\frac{1}{2}", "level": 1}, "test"),
    "s1_gpqa_diamond": (GPQA, "train"),
}


@pytest.fixture(scope="module")
def tasks():
    return TaskManager(include_path=str(FOLDER), include_defaults=False)


@pytest.fixture
def hub(monkeypatch):
    """Replace the hub by a made-up line of a recipe's data set, and return the list of fetches."""

    def has(name):
        row, split = ROWS[name]
        fetches = []
        data = {split: datasets.Dataset.from_list([row])}
        monkeypatch.setattr(datasets, "load_dataset", lambda path, name, **rest: fetches.append((path, name, rest)) or data)
        return fetches

    return has


@pytest.fixture
def load(tasks, hub):
    """Return a recipe over its made-up line, and the list of fetches."""

    def task(name):
        fetches = hub(name)
        return tasks.load([name])["tasks"][name], fetches

    return task


@pytest.mark.parametrize(
    ("name", "answer"),
    [("s1_aime24", "Answer: 23"), ("s1_aime25", r"\boxed{23}"), ("s1_math500", r"\boxed{0.5}"), ("s1_gpqa_diamond", None)],
)
def test_a_recipe_asks_and_grades(load, name, answer):
    task, [(path, _, rest)] = load(name)
    assert "/" in path and len(rest["revision"]) == 40
    doc = task.eval_docs[0]
    assert task.process_results(doc, [answer or f"Answer: {doc['answer']}"]) == {"exact_match": 1}
    assert task.process_results(doc, ["Answer: 24 and Z"]) == {"exact_match": 0}
    assert task.doc_to_text(doc).startswith("Which?\n\nA) " if name == "s1_gpqa_diamond" else "How many?")
    assert task.config.generation_kwargs == {"until": [], "do_sample": False}


def test_a_fault_in_a_grader_ends_no_run(load, monkeypatch, caplog):
    """The answer counts as wrong, and the log says why."""
    monkeypatch.setitem(GRADERS, "integer", lambda answer, expected: 1 // 0)
    task, _ = load("s1_aime24")
    assert task.process_results(task.eval_docs[0], ["Answer: 23"]) == {"exact_match": 0}
    assert "ZeroDivisionError" in caplog.text


def test_the_choices_of_gpqa_are_shuffled_and_stay_so():
    docs = [functions._shuffled({**GPQA, "Question": f"Which of {number}?"}) for number in range(100)]
    assert all(doc["choices"]["ABCD".index(doc["answer"])] == "right" for doc in docs)
    assert {doc["answer"] for doc in docs} == set("ABCD")
    assert docs[0] == functions._shuffled({**GPQA, "Question": "Which of 0?"})


def test_the_prompt_of_gpqa_is_the_papers(load):
    task, _ = load("s1_gpqa_diamond")
    a, b, c, d = task.eval_docs[0]["choices"]
    assert task.doc_to_text(task.eval_docs[0]) == f"Which?\n\nA) {a}\nB) {b}\nC) {c}\nD) {d}"


# --- as questions of `s1 eval` --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected", "grading"),
    [("s1_aime24", "23", "integer"), ("s1_aime25", "023", "integer"), ("s1_math500", r"\frac{1}{2}", "math")],
)
def test_a_recipe_is_a_task_of_questions(hub, name, expected, grading):
    hub(name)
    (question,) = load_task(name).questions
    assert (question.id, question.prompt, question.expected, question.grading) == (f"{name}-0", "How many?", expected, grading)


def test_the_choice_of_gpqa_is_a_letter(hub):
    hub("s1_gpqa_diamond")
    (question,) = load_task("s1_gpqa_diamond").questions
    assert question.grading == "letter" and f"{question.expected}) right" in question.prompt


def test_the_recipe_without_a_download_is_the_bundled_task():
    recipe, bundled = (
        [(question.prompt, str(question.expected)) for question in load_task(name).questions] for name in ("s1_arithmetic", "arithmetic")
    )
    assert recipe == bundled


def test_an_unreachable_data_set_is_a_clear_message(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(BadTask, match="task s1_aime24: its data set cannot be loaded: Couldn't reach the hub"):
        load_task("s1_aime24")


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(BadTask, match=r"pip install './client\[lm-eval\]'"):
        load_task("s1_aime24")
