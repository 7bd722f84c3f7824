# SPDX-License-Identifier: Apache-2.0
"""Rows of the data pipeline: JSON objects, one a line, and the outcome of a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A row that a stage has left out, and why.

    Attributes:
        reason: a short name, by which reports count.
        detail: what the reason does not say, such as the n-gram that was found.
    """

    id: str
    source: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a stage: every row that came in is in ``rows`` or in ``dropped``.

    Attributes:
        found: facts for the report and the dataset card.
    """

    rows: list[Row]
    dropped: list[Drop] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a JSON Lines file. Raises BuildFailed naming the file and line that cannot be read."""
    try:
        with path.open("rb") as file:  # line by line: the text of a file of traces is as large as its rows
            return [_row(line, f"{path}:{number}") for number, line in enumerate(file, 1) if line.strip()]
    except OSError as error:
        raise BuildFailed(f"{path}: cannot be read: {error}") from None


def _row(line: bytes, where: str) -> Row:
    try:
        return parse_row(line.decode().rstrip("\r\n"))
    except ValueError as error:
        raise BuildFailed(f"{where}: {error}") from None


def parse_row(line: str) -> Row:
    """Return the JSON object of a line. Raises ValueError saying why there is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"got {line[:40]!r}, allowed: a JSON object")  # noqa: TRY004  # the line is at fault, not its type
    if "\\ud" in line.lower():
        _check_surrogates(row)
    return row


def _check_surrogates(row: Row) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half a character (a \\ud… without its other half), which UTF-8 cannot hold") from None


def write_rows(path: Path, rows: Iterable[Row]) -> str:
    """Write rows as JSON Lines, in their order. Return the SHA-256 of the file."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for row in rows:
            line = f"{json.dumps(row, ensure_ascii=False)}\n".encode()
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


def column_of(rows: Iterable[Row], column: str, setting: str) -> list[Any]:
    """Return a further column of the data set, None where a row lacks it.

    ``setting`` names the column in the recipe. Raises BuildFailed if no row has the column: its name is misspelt.
    """
    columns = [row.get("columns", {}) for row in rows]
    if columns and not any(column in found for found in columns):
        names = sorted({name for found in columns for name in found})
        raise BuildFailed(
            f"{setting}: got {column!r}, which no row has; allowed: {', '.join(names) or 'none, the rows have no further column'}"
        )
    return [found.get(column) for found in columns]


def question_id(question: str) -> str:
    """Return the id of a question: the first 16 hex digits of the SHA-256 of its text, as the s1 authors name their files."""
    return hashlib.sha256(question.encode()).hexdigest()[:16]
