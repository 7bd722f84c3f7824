# SPDX-License-Identifier: Apache-2.0
"""A task: questions whose right answers are known: one that comes with the package, a recipe (see ``_recipes``), or a file.

What a file holds is said in ``_questions``; each of its questions has ``expected``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from s1_client import Prompt
from s1_client._jsonl import Item, items
from s1_client.evaluation._questions import question_of
from s1_client.evaluation.grading.graders import grade
from s1_client.evaluation.grading.text_match import Expected

VARIED = ("thinking", "max_thinking_tokens", "num_ignore", "ignore_str", "num_samples")  # options that only a setting may say
_MAX_PROBLEMS = 10  # that one message tells


class BadTask(ValueError):
    """A task that cannot be read; the message says where and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        id: its name in results.
        prompt: a text, or a chat.
        expected: the right answer.
        grading: how an answer is held against it, a key of ``GRADERS``.
        options: of its requests, by name; None leaves one to the server.
    """

    id: str
    prompt: Prompt
    expected: Expected
    grading: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def is_right(self, answer: str) -> bool:
        """Whether an answer is right. Raises MissingPackage, JudgeFailed and Ungraded."""
        return grade(self.grading, answer, self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Questions with a name."""

    name: str
    questions: Sequence[Question]

    def digest(self) -> str:
        """A hash of the questions as they are asked: a mended reference is no other task."""
        asked = [[one.id, one.prompt, *([one.options] if one.options else [])] for one in self.questions]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"name": self.name, "questions": [asdict(question) for question in self.questions]}


def task_of(data: dict[str, Any]) -> Task:
    """The task out of ``Task.to_dict``."""
    return Task(name=data["name"], questions=tuple(Question(**one) for one in data["questions"]))


def read_questions(file: IO[bytes], where: str) -> tuple[Question, ...]:
    """The questions of a file. Raises BadTask naming the lines that are none, an id that is there twice, or that there is no question."""
    found: dict[str, Question] = {}
    problems: list[str] = []
    lines: Counter[int] = Counter()
    for item in items(file):
        lines[item.line] += 1
        number = lines[item.line]
        try:
            question = question_with_answer(item, f"q{item.line}" + (f"-{number}" if number > 1 else ""))
        except ValueError as error:
            problems.append(f"{where}:{item.line}: {error}")
            continue
        if found.setdefault(question.id, question) is not question:
            problems.append(f"{where}:{item.line}: id {question.id!r} is there twice")
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        raise BadTask("\n".join([*problems[:_MAX_PROBLEMS], *([f"and {more} more lines"] if more > 0 else [])]))
    if not found:
        raise BadTask(f"{where}: no question")
    return tuple(found.values())


def question_with_answer(item: Item, default_id: str) -> Question:
    if item.problem is not None:
        raise ValueError(item.problem)
    asks = question_of(item.value, item.line, varied=VARIED)
    if asks.expected is None or asks.grading is None:
        raise ValueError("expected: missing; an evaluation needs the right answer, a number or text")
    if isinstance(asks.prompt, str) and not asks.prompt.strip():
        raise ValueError("prompt: allowed: text that is not empty")
    key = default_id if asks.id is None else str(asks.id)
    return Question(id=key, prompt=asks.prompt, expected=asks.expected, grading=asks.grading, options=asks.options)
