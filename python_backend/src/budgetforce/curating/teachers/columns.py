# SPDX-License-Identifier: Apache-2.0
"""The traces that a data set has in its columns, such as Gemini's and DeepSeek's in s1K-1.1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from budgetforce.curating.rows import Row
from budgetforce.curating.teachers.base import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnsSettings:
    """Settings of traces from columns.

    Attributes:
        thinking: column of the thought: a text, or a list of texts, which are joined by line breaks as the s1 authors do.
        attempt: column of the answer.
        model: the model that wrote them, for the rows' provenance.
        date: when, ISO 8601; "" = not known.
    """

    teacher: Literal["columns"]
    thinking: str = "thinking_trajectories"
    attempt: str = "attempt"
    model: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnsTeacher:
    """Takes thoughts and answers from the columns of the rows."""

    settings: ColumnsSettings
    name: str = "columns"
    is_costly: bool = False

    def identity(self) -> dict[str, Any]:
        return {"teacher": self.name}

    def traces(self, rows: Sequence[Row]) -> Iterator[Trace]:
        return map(self._trace, rows)

    def _trace(self, row: Row) -> Trace:
        columns = row.get("columns", {})
        found = {name: _text(columns.get(name)) for name in (self.settings.thinking, self.settings.attempt)}
        for name, text in found.items():
            if text is None:
                return Trace(id=row["id"], reason="no-trace", detail=f"column {name}: missing, or no text")
        thinking, attempt = found.values()
        return Trace(
            id=row["id"],
            thinking=thinking or "",
            attempt=attempt or "",
            model=self.settings.model or None,
            date=self.settings.date or None,
        )


def _text(value: Any) -> str | None:
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None
