# SPDX-License-Identifier: Apache-2.0
"""Tasks: questions with known answers, read from files.

The format of a file is that of ``_questions``. An evaluation needs ``expected`` of each question, a sweep does not.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from s1_client import Prompt
from s1_client._jsonl import Item, items
from s1_client.evaluation._questions import question_of
from s1_client.evaluation.grading.graders import grade
from s1_client.evaluation.grading.text_match import Expected

VARIED = (
    "thinking",
    "max_thinking_tokens",
    "reasoning_effort",
    "num_ignore",
    "ignore_str",
    "num_samples",
)  # options that only a setting may set
_MAX_PROBLEMS = 10  # in a message


class BadTask(ValueError):
    """A task cannot be read; the message names the place, the value and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, and its expected answer if there is one.

    Attributes:
        id: unique within the task; names the question in results.
        prompt: a text or a chat.
        expected: the right answer; None for a question that is not graded.
        grading: the kind of grading, a key of ``GRADERS``; "" without ``expected``.
        options: request options by name; None leaves an option to the server.
    """

    id: str
    prompt: Prompt
    expected: Expected | None = None
    grading: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def is_right(self, answer: str) -> bool | None:
        """Return whether an answer is right; None without ``expected``. Raises MissingPackage, JudgeFailed and Ungraded."""
        return None if self.expected is None else grade(self.grading, answer, self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A named sequence of questions with known answers."""

    name: str
    questions: Sequence[Question]

    def digest(self) -> str:
        """Return a hash of ids, prompts and options, which a corrected ``expected`` does not change."""
        requests = [[question.id, question.prompt, *([question.options] if question.options else [])] for question in self.questions]
        return hashlib.sha256(json.dumps(requests).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON-compatible values."""
        return {"name": self.name, "questions": [asdict(question) for question in self.questions]}


def task_of(data: dict[str, Any]) -> Task:
    """Return the task that ``Task.to_dict`` converted."""
    return Task(name=data["name"], questions=tuple(Question(**question) for question in data["questions"]))


def read_questions(file: IO[bytes], where: str, *, varied: Collection[str] = VARIED, needs_expected: bool = True) -> tuple[Question, ...]:
    """Return the questions of a file. Raises BadTask naming invalid lines and duplicate ids, or if the file has no question.

    ``varied`` are the options that a question must not name, because the settings do.
    """
    found: dict[str, Question] = {}
    problems: list[str] = []
    lines: Counter[int] = Counter()
    for item in items(file):
        lines[item.line] += 1
        number = lines[item.line]
        try:
            default_id = f"q{item.line}" + (f"-{number}" if number > 1 else "")
            question = task_question(item, default_id, varied=varied, needs_expected=needs_expected)
        except ValueError as error:
            problems.append(f"{where}:{item.line}: {error}")
            continue
        if found.setdefault(question.id, question) is not question:
            problems.append(f"{where}:{item.line}: duplicate id {question.id!r}")
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        raise BadTask("\n".join([*problems[:_MAX_PROBLEMS], *([f"and {more} more problems, {len(problems)} in all"] if more > 0 else [])]))
    if not found:
        raise BadTask(f"{where}: the file has no question")
    return tuple(found.values())


def task_question(item: Item, default_id: str, *, varied: Collection[str] = VARIED, needs_expected: bool = True) -> Question:
    """Return the question of an item. Raises ValueError if it is invalid or lacks the expected answer that it needs."""
    if item.problem is not None:
        raise ValueError(item.problem)
    parsed = question_of(item.value, item.line, varied=varied)
    if parsed.expected is None and needs_expected:
        raise ValueError("expected: missing, allowed: the right answer, a number or text")
    if isinstance(parsed.prompt, str) and not parsed.prompt.strip():
        raise ValueError("prompt: empty, allowed: text that is not empty")
    key = default_id if parsed.id is None else str(parsed.id)
    return Question(id=key, prompt=parsed.prompt, expected=parsed.expected, grading=parsed.grading or "", options=parsed.options)
