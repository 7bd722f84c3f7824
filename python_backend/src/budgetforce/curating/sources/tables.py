# SPDX-License-Identifier: Apache-2.0
"""Read the rows of JSON Lines and parquet files, each with its place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.rows import parse_row
from budgetforce.curating.settings import check
from budgetforce.curating.sources.raw import BadRow

SUFFIXES = (".jsonl", ".parquet")
_BATCH = 1_000  # rows of a parquet file in memory


def check_suffix(name: str, path: str) -> None:
    """Raise ConfigError for a file of another kind."""
    check(name, path, path.endswith(SUFFIXES), f"a file that ends in {' or '.join(SUFFIXES)}")


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Yield (line or row number from 1, its columns). A line that is no JSON object is a BadRow.

    Raises BuildFailed if the file cannot be read.
    """
    return _parquet_rows(path) if path.suffix == ".parquet" else _lines(path)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _line(line, f"{path}:{number}")
    except OSError as error:
        raise BuildFailed(f"{path}: cannot be read: {error.strerror}") from None


def _line(line: bytes, where: str) -> dict[str, Any] | BadRow:
    try:
        return parse_row(line.decode().rstrip("\r\n"))
    except ValueError as error:
        return BadRow(where=where, field="", reason="not-json", problem=str(error))


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    if not path.exists():
        raise BuildFailed(f"{path}: no such file")
    try:
        with parquet.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pa.ArrowException) as error:
        raise BuildFailed(f"{path}: not a parquet file that can be read: {str(error).splitlines()[0]}") from None


def count_rows(path: Path) -> int:
    """Return the number of rows of a file. Raises BuildFailed if it cannot be read."""
    return sum(1 for _ in table_rows(path))
