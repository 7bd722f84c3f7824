# SPDX-License-Identifier: Apache-2.0
"""Source of local files: JSON Lines and parquet, with the columns of s1's published data sets or of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.sources.columns import Columns, check_columns, check_grading
from budgetforce.curating.sources.raw import BadRow, Raw
from budgetforce.curating.sources.tables import check_suffix, table_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A local file with one question a row. The fields are those of ``columns.Columns``, and:

    Attributes:
        path: a file that ends in ``.jsonl`` or ``.parquet``.
        name: name of the source; "" = the file's name.
    """

    kind: Literal["file"]
    path: Path
    name: str = ""
    licence: str | None = None
    layout: Literal["rows", "s1"] = "rows"
    columns: dict[str, str] = field(default_factory=dict)
    expected_from: Literal["column", "solution"] = "column"
    grading: str | None = None

    def __post_init__(self) -> None:
        check_suffix("path", str(self.path))
        check_columns(self.columns)
        check_grading(self.grading)

    @property
    def label(self) -> str:
        """Name of the source in reports."""
        return self.name or self.path.name


def read_file_source(source: FileSource) -> Iterator[Raw | BadRow]:
    """Yield the rows of a file. Raises BuildFailed if it cannot be read."""
    if not source.path.is_file():
        raise BuildFailed(f"{source.path}: no such file (source {source.label})")
    columns = Columns(
        label=source.label,
        revision=f"sha256 {sha256_of(source.path)}",
        licence=source.licence,
        layout=source.layout,
        names=source.columns,
        expected_from=source.expected_from,
        grading=source.grading,
    )
    for place, values in table_rows(source.path):
        yield columns.raw(f"{source.path}:{place}", values)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises BuildFailed if it cannot be read."""
    try:
        found = path.stat()
        return _sha256(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise BuildFailed(f"{path}: cannot be read: {error.strerror}") from None


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  # a file that has changed is read again
    """Return the SHA-256 of a file, which every stage wants to know of every source behind it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
