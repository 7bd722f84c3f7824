# SPDX-License-Identifier: Apache-2.0
"""What a sweep asks: every question at every setting. Knows no server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from s1_client import Prompt
from s1_client._jsonl import Item, items
from s1_client.cli.request_file import Keys
from s1_client.evaluation._questions import question_of
from s1_client.evaluation._seeds import shift_seeds
from s1_client.evaluation.grading.text_match import Expected
from s1_client.runs import BadLine, BatchRequest, digest, digest_of

SETTING = ("max_thinking_tokens", "num_ignore")  # what a sweep varies
OWN = (*SETTING, "num_samples")  # what only it may say


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a sweep.

    Attributes:
        key: its id.
        expected: the right answer, if it is known, and ``grading``, how answers are held against it.
    """

    key: str | int
    prompt: Prompt
    options: Mapping[str, Any] = field(default_factory=dict)
    expected: Expected | None = None
    grading: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Questions at settings, each so many times.

    Attributes:
        options: those of every question that has none of that name.
        model: the model's name on the server.
    """

    questions: Sequence[Question]
    budgets: Sequence[int]
    ignores: Sequence[int]
    num_repeats: int
    options: Mapping[str, Any]
    model: str

    def __iter__(self) -> Iterator[BatchRequest]:
        """Question by question: one prompt's settings come together, which engines that keep prefixes like, and a
        sweep that is stopped has whole questions.
        """
        for question in self.questions:
            for repeat in range(self.num_repeats):
                for ignore in self.ignores:
                    for budget in self.budgets:
                        yield self._asked(question, {"max_thinking_tokens": budget, "num_ignore": ignore}, repeat)

    def _asked(self, question: Question, setting: Mapping[str, int], repeat: int) -> BatchRequest:
        options = shift_seeds({**self.options, **question.options, **setting}, repeat)
        budget, ignore = setting.values()
        return BatchRequest(
            prompt=question.prompt,
            options=options,
            key=f"{question.key}/b{budget}/i{ignore}/r{repeat}",
            digest=digest(question.prompt, options, model=self.model),
            line=question.line,
            meta={"question": question.key, **setting, "repeat": repeat},
        )

    def identity(self) -> str:
        """A hash of the questions and their options: what all replies of a sweep have in common."""
        asked = [[str(question.key), digest(question.prompt, question.options)] for question in self.questions]
        return digest_of({"model": self.model, "options": digest("", self.options), "questions": asked})

    def to_dict(self) -> dict[str, Any]:
        """What was asked, beside the settings, as JSON can hold it."""
        questions = [asdict(question) for question in self.questions]
        return {"sweep": self.identity(), "model": self.model, "options": dict(self.options), "questions": questions}


def read_questions(file: IO[bytes]) -> tuple[list[Question], list[BadLine]]:
    """The questions of a file, and its lines that are none."""
    questions, bad, keys = [], [], Keys()
    for item in items(file):
        try:
            questions.append(_question(item, keys))
        except ValueError as error:
            bad.append(BadLine(line=item.line, problem=str(error)))
    return questions, bad


def _question(item: Item, keys: Keys) -> Question:
    if item.problem is not None:
        raise ValueError(item.problem)
    one = question_of(item.value, item.line, varied=OWN)
    key = keys.take(one.id, digest(one.prompt, one.options), one.line)
    return Question(key=key, prompt=one.prompt, options=one.options, expected=one.expected, grading=one.grading, line=one.line)
