# SPDX-License-Identifier: Apache-2.0
"""The teacher of puzzles: it thinks by rule, with the flaw that ``rule_teacher`` describes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from budgetforce.curating.rows import Row
from budgetforce.curating.rule_teacher import write_thinking
from budgetforce.curating.teachers.base import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesSettings:
    """Settings of the teacher by rule: it has none."""

    teacher: Literal["rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesTeacher:
    """Writes the thought of each puzzle by rule; the draws of a question depend on ``seed`` and its id alone."""

    seed: int
    name: str = "rules"
    is_costly: bool = False

    def identity(self) -> dict[str, Any]:
        return {"teacher": self.name, "seed": self.seed}

    def traces(self, rows: Sequence[Row]) -> Iterator[Trace]:
        return map(self._trace, rows)

    def _trace(self, row: Row) -> Trace:
        facts = row["metadata"].get("facts")
        if facts is None:
            return Trace(id=row["id"], reason="no-rule", detail="metadata.facts: missing, the teacher by rule knows only puzzles")
        draw = random.Random(f"{self.seed}/{row['id']}")  # noqa: S311  # reproducible, not a secret
        try:
            thinking, result = write_thinking(facts, draw)
        except (LookupError, TypeError, ValueError, AttributeError):  # a file of questions may have any facts
            return Trace(id=row["id"], reason="no-rule", detail="metadata.facts: not those of a puzzle")
        return Trace(id=row["id"], thinking=thinking, attempt=f"Final Answer: {result}", model="rules")
