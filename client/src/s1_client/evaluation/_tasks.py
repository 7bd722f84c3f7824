# SPDX-License-Identifier: Apache-2.0
"""A task: questions whose right answers are known: one that comes with the package, a recipe (see ``_recipes``), or a file.

A file has a JSON object a line: ``prompt``, ``expected``, and perhaps ``id`` and ``grading`` (a key of
``GRADERS``). Without ``grading`` it follows from the reference: integer, letter, or text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from s1_client._suggest import how_to_install
from s1_client.evaluation._grade import Expected
from s1_client.evaluation._graders import GRADERS
from s1_client.evaluation._recipes import NAMES, entries_of

KEYS = ("prompt", "expected", "id", "grading")
BUNDLED = ("arithmetic",)


class BadTask(ValueError):
    """A task that cannot be read; the message says where and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        id: its name in results.
        expected: the right answer.
        grading: how an answer is held against it, a key of ``GRADERS``.
    """

    id: str
    prompt: str
    expected: Expected
    grading: str

    def is_right(self, answer: str) -> bool:
        """Whether an answer is right."""
        return GRADERS[self.grading](answer, self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Questions with a name."""

    name: str
    questions: Sequence[Question]

    def digest(self) -> str:
        """A hash of the questions as they are asked: a mended reference is no other task."""
        asked = [[question.id, question.prompt] for question in self.questions]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"name": self.name, "questions": [asdict(question) for question in self.questions]}


def task_of(data: dict[str, Any]) -> Task:
    """The task out of ``Task.to_dict``."""
    return Task(name=data["name"], questions=tuple(Question(**one) for one in data["questions"]))


def load_task(name: str) -> Task:
    """The task of this name, or of this file. Raises BadTask."""
    if name in NAMES:
        return Task(name=name, questions=_recipe(name))
    if name in BUNDLED:
        text = resources.files("s1_client.evaluation.tasks").joinpath(f"{name}.jsonl").read_text(encoding="utf-8")
        return Task(name=name, questions=read_questions(text.splitlines(), name))
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadTask(f"task: got {name!r}, allowed: {', '.join((*BUNDLED, *NAMES))}, or a file of questions ({error})") from None
    return Task(name=Path(name).stem, questions=read_questions(lines, name))


def _recipe(name: str) -> tuple[Question, ...]:
    try:
        return tuple(_question(entry, name) for entry in entries_of(name))
    except ImportError as error:
        raise BadTask(f"task {name} is read by lm-evaluation-harness: {how_to_install('lm-eval')} ({error})") from None
    except OSError as error:
        raise BadTask(f"task {name}: no data: {error}") from None


def read_questions(lines: Iterable[str], where: str) -> tuple[Question, ...]:
    """The questions of a file. Raises BadTask for one that is none, for an id that is there twice, and for no question."""
    found: dict[str, Question] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                question = _question(json.loads(line), f"q{number}")
            except ValueError as error:
                raise BadTask(f"{where}:{number}: {error}") from None
            if found.setdefault(question.id, question) is not question:
                raise BadTask(f"{where}:{number}: id {question.id!r} is there twice")
    if not found:
        raise BadTask(f"{where}: no question")
    return tuple(found.values())


def _question(entry: Any, default_id: str) -> Question:
    if not isinstance(entry, dict) or set(entry) - set(KEYS):
        raise ValueError(f"allowed: a JSON object with {', '.join(KEYS)}")
    prompt, expected, given = entry.get("prompt"), entry.get("expected"), entry.get("id", default_id)
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("prompt: allowed: text that is not empty")
    if isinstance(expected, bool) or not isinstance(expected, str | int | float) or not str(expected).strip():
        raise ValueError("expected: allowed: a number, or text that is not empty")
    if isinstance(given, bool) or not isinstance(given, str | int) or not str(given):
        raise ValueError(f"id: got {given!r}, allowed: text or an integer")
    grading = entry.get("grading", _grading_of(expected))
    if grading not in GRADERS:
        raise ValueError(f"grading: got {grading!r}, allowed: {', '.join(GRADERS)}")
    return Question(id=str(given), prompt=prompt, expected=expected, grading=grading)


def _grading_of(expected: Expected) -> str:
    text = str(expected).strip()
    if text.lstrip("+-").isascii() and text.lstrip("+-").isdigit():
        return "integer"
    return "letter" if len(text) == 1 and "A" <= text <= "Z" else "text"
