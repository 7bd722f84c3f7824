# SPDX-License-Identifier: Apache-2.0
"""A question as its source has it, and a row of a source that is not usable."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from budgetforce.curating.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A question with its provenance.

    Attributes:
        where: FILE:LINE, or another place by which a person finds the row.
        source: the source's name, or what the row itself says.
        source_id: the row's id within its source; None if it has none.
        columns: further columns of the row, which later stages may read.
    """

    where: str
    question: str
    source: str
    solution: str | None = None
    expected: str | None = None
    grading: str | None = None
    source_revision: str | None = None
    source_id: str | None = None
    licence: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)

    def order(self) -> tuple[str, str]:
        """Return a key for sorting that does not depend on the place of the row in its file."""
        content = [self.source_id, self.solution, self.expected, self.metadata, self.columns]
        return self.question, json.dumps(content, sort_keys=True, ensure_ascii=False)

    def row(self, key: str) -> Row:
        """Return the row of the pipeline."""
        row: Row = {"id": key, "question": self.question, "solution": self.solution, "expected": self.expected}
        row |= {"grading": self.grading, "source": self.source, "source_revision": self.source_revision}
        row |= {"source_id": self.source_id, "licence": self.licence, "metadata": self.metadata}
        return row | ({"columns": self.columns} if self.columns else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that is not usable: its place, the field at fault and the problem."""

    where: str
    field: str
    reason: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: {self.problem}" if self.field else f"{self.where}: {self.problem}"
