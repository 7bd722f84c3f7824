# SPDX-License-Identifier: Apache-2.0
"""Functions that the recipes' YAML files refer to: documents and metrics. Importing this registers model ``s1-triton``."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from s1_client.evaluation import lm_eval_model
from s1_client.evaluation._samples import CUT
from s1_client.evaluation.grading.graders import grade
from s1_client.evaluation.grading.judge import Ungraded
from s1_client.evaluation.tasks import arithmetic as bundled

LETTERS = "ABCD"
assert lm_eval_model.NAME  # the import registers the model


def integer(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a document whose answer is a whole number."""
    return _graded("integer", answer_of(doc), results)


def letter(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a document whose answer is the letter of a choice."""
    return _graded("letter", answer_of(doc), results)


def mathematics(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a document whose answer is a formula, a number or a few words."""
    return _graded("math", answer_of(doc), results)


GRADED_BY = {integer: "integer", letter: "letter", mathematics: "math"}


def answer_of(doc: Mapping[str, Any]) -> str:
    """Return the expected answer of a document."""
    return str(next(doc[name] for name in ("answer", "Answer") if name in doc))


def _graded(kind: str, reference: str, results: Sequence[str]) -> dict[str, float]:
    """Return whether the answer is right and, for model ``s1-triton``, its token counts and whether it was cut."""
    [answer] = results
    found = {"exact_match": float(_is_right(kind, str(answer), reference))}
    if isinstance(answer, lm_eval_model.Answer):
        result = answer.reply["result"]
        found |= {name: result["usage"][name] for name in ("num_thinking_tokens", "num_answer_tokens")}
        found["answer_cut"] = float(result["answer_end"] == CUT)
    return found


def _is_right(kind: str, answer: str, reference: str) -> bool:
    """Return the grade; an answer that cannot be graded counts as wrong."""
    try:
        return grade(kind, answer, reference)
    except Ungraded:
        return False


def shuffled(docs: datasets.Dataset) -> datasets.Dataset:
    """Return GPQA with the choices of each question shuffled, the same in every run, and the letter of the right choice."""
    return docs.map(_shuffled)


def _shuffled(doc: Mapping[str, Any]) -> dict[str, Any]:
    right, *wrong = (doc[name].strip() for name in ("Correct Answer", *(f"Incorrect Answer {number}" for number in (1, 2, 3))))
    order = random.Random(doc["Question"]).sample(range(len(LETTERS)), len(LETTERS))  # noqa: S311  # not a secret
    choices = [(right, *wrong)[index] for index in order]
    return {"choices": choices, "answer": LETTERS[order.index(0)]}


def arithmetic(**_: Any) -> dict[str, datasets.Dataset]:
    """Return the bundled task ``arithmetic`` as a data set of lm-eval."""
    questions = map(json.loads, bundled.FILE.read_text(encoding="utf-8").splitlines())
    documents = [{"id": question["id"], "prompt": question["prompt"], "answer": str(question["expected"])} for question in questions]
    return {"test": datasets.Dataset.from_list(documents)}
