# SPDX-License-Identifier: Apache-2.0
"""Whether weak models answer a question right: from a column of the data set, or from a file of earlier results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.rows import Row, column_of, question_id, read_rows
from budgetforce.curating.verdicts import verdict_of


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakColumn:
    """Verdicts in a column of the data set, such as ``isqwen7bcorrect``."""

    kind: Literal["column"]
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakFile:
    """Verdicts in a JSON Lines file, whose objects have ``question`` (or ``id``, the first 16 hex digits of its SHA-256) and
    ``is_correct``.
    """

    kind: Literal["file"]
    path: Path


def verdicts(rows: Sequence[Row], source: WeakColumn | WeakFile) -> list[bool | None]:
    """Return the verdict of each row; None where there is none. Raises BuildFailed naming the row or line that is not usable."""
    if isinstance(source, WeakColumn):
        place = f"column {source.column}"
        found = zip(rows, column_of(rows, source.column, "features.weak, column"), strict=True)
        return [verdict_of(value, f"question {row['id']}: {place}") for row, value in found]
    known = _verdicts_in(source.path)
    return [known.get(row["id"]) for row in rows]


def _verdicts_in(path: Path) -> dict[str, bool | None]:
    found: dict[str, bool | None] = {}
    for number, row in enumerate(read_rows(path), 1):
        key = row.get("id") or (question_id(row["question"]) if isinstance(row.get("question"), str) else None)
        if not isinstance(key, str) or "is_correct" not in row:
            raise BuildFailed(f"{path}: row {number}: {'is_correct' if key else 'question'}: missing")
        found[key] = verdict_of(row["is_correct"], f"{path}: row {number}: is_correct")
    return found
