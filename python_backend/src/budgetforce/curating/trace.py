# SPDX-License-Identifier: Apache-2.0
"""Stage ``trace``: a teacher's thought and answer for each question.

Replies that cost money or hours are kept in the work folder (``answers``), outside the stage's own folder: neither a killed
run nor a change of the recipe asks a question again that the same teacher has answered.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from budgetforce.curating.answers import Answers
from budgetforce.curating.progress import ProgressLine
from budgetforce.curating.rows import Drop, Outcome, Row
from budgetforce.curating.teachers.base import Teacher, Trace, each_whole
from budgetforce.curating.teachers.columns import ColumnsSettings, ColumnsTeacher
from budgetforce.curating.teachers.openai import OpenAISettings, OpenAITeacher
from budgetforce.curating.teachers.rules import RulesSettings, RulesTeacher
from budgetforce.curating.teachers.s1 import S1Settings, S1Teacher

TraceSettings = RulesSettings | ColumnsSettings | OpenAISettings | S1Settings


def teacher_of(settings: TraceSettings, rng: random.Random) -> Teacher:
    """Return the teacher that a recipe names."""
    if isinstance(settings, RulesSettings):
        return RulesTeacher(seed=rng.getrandbits(64))
    if isinstance(settings, OpenAISettings):
        return OpenAITeacher(settings=settings)
    if isinstance(settings, S1Settings):
        return S1Teacher(settings=settings)
    return ColumnsTeacher(settings=settings)


def run(rows: Sequence[Row], settings: TraceSettings, rng: random.Random, answers: Answers | None = None) -> Outcome:
    """Return the rows with ``thinking``, ``attempt`` and ``teacher``. Raises BuildFailed if the teacher fails altogether."""
    teacher = teacher_of(settings, rng)
    traces = {trace.id: trace for trace in _traces(rows, teacher, answers if teacher.is_costly else None)}
    used = {settings.thinking, settings.attempt} if isinstance(settings, ColumnsSettings) else set()
    kept = [_traced(row, traces[row["id"]], teacher.name, used) for row in rows if not traces[row["id"]].reason]
    return Outcome(rows=kept, dropped=[_drop(row, traces[row["id"]]) for row in rows if traces[row["id"]].reason])


def _traces(rows: Sequence[Row], teacher: Teacher, answers: Answers | None) -> Iterator[Trace]:
    known = answers.known(teacher.identity()) if answers else {}
    yield from (known[row["id"]] for row in rows if row["id"] in known)
    unknown = [row for row in rows if row["id"] not in known]
    line = ProgressLine("trace", len(unknown))
    try:
        for trace in each_whole(teacher.traces(unknown)):
            if answers and trace.is_final:
                answers.keep(teacher.identity(), trace)
            line.advance()
            yield trace
    finally:
        line.close()


def _traced(row: Row, trace: Trace, name: str, used: set[str]) -> Row:
    teacher = {"name": name, "model": trace.model, "date": trace.date}
    traced = row | {"thinking": trace.thinking, "attempt": trace.attempt, "teacher": teacher}
    if used:
        traced["columns"] = {key: value for key, value in row["columns"].items() if key not in used}
    return traced


def _drop(row: Row, trace: Trace) -> Drop:
    return Drop(id=row["id"], source=row["source"], reason=trace.reason, detail=trace.detail)
