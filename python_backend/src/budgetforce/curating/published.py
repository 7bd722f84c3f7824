# SPDX-License-Identifier: Apache-2.0
"""The files of a published training set: ``data.parquet`` with its rows, ``dataset.json``, which describes it, ``tokenizer/``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.history import History, StageReport
from budgetforce.curating.masking import NO_LOSS
from budgetforce.curating.rows import Row

DATA, DESCRIPTION, TOKENIZER = "data.parquet", "dataset.json", "tokenizer"
_AS_JSON = ("metadata", "teacher", "weak_correct")  # objects of any shape: parquet has them as JSON text
_TEXT, _INT, _IDS = pa.string(), pa.int32(), pa.list_(pa.int32())
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("id", "question", "solution", "expected", "grading"), _TEXT),
        **dict.fromkeys(("source", "source_revision", "source_id", "licence", "metadata"), _TEXT),
        **dict.fromkeys(("thinking", "attempt", "teacher"), _TEXT),
        "is_correct": pa.bool_(),
        **dict.fromkeys(("domain", "weak_correct"), _TEXT),
        "num_thinking_tokens": _INT,
        **dict.fromkeys(("selected_by", "variant"), _TEXT),
        "bucket": _INT,
        "text": _TEXT,
        **dict.fromkeys(("input_ids", "labels"), _IDS),
    }
)
_GROUP = 10_000  # rows that are written or read together


def write_data(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as parquet, in their order; equal rows give an equal file. Raises BuildFailed naming a row of a wrong type."""
    with parquet.ParquetWriter(path, SCHEMA, compression="zstd") as writer:  # type: ignore[no-untyped-call]
        for start in range(0, len(rows), _GROUP):
            writer.write_table(_table(rows[start : start + _GROUP]))
        if not rows:
            writer.write_table(_table([]))


def _table(rows: Sequence[Row]) -> pa.Table:
    try:
        return pa.Table.from_pylist([_cells(row) for row in rows], schema=SCHEMA)
    except (pa.ArrowException, TypeError) as error:
        row = next((row for row in rows if not _is_storable(row)), {"id": "unknown"})
        raise BuildFailed(f"stage card: row {row['id']}: a field has the wrong type: {str(error).splitlines()[0]}") from None


def _is_storable(row: Row) -> bool:
    try:
        pa.Table.from_pylist([_cells(row)], schema=SCHEMA)
    except (pa.ArrowException, TypeError):
        return False
    return True


def _cells(row: Row) -> Row:
    """Return the fields that are published."""
    cells = {name: row.get(name) for name in SCHEMA.names}
    texts = {name: json.dumps(cells[name], ensure_ascii=False, sort_keys=True) for name in _AS_JSON if cells[name] is not None}
    return cells | texts


def read_data(path: Path) -> Iterator[Row]:
    """Yield the rows of a set. Raises BuildFailed if the file cannot be read or lacks a column."""
    try:
        with parquet.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
            if missing := [name for name in SCHEMA.names if name not in file.schema_arrow.names]:
                raise BuildFailed(f"{path}: no column {', '.join(missing)}")
            for batch in file.iter_batches(batch_size=_GROUP, columns=SCHEMA.names):
                yield from map(_row, batch.to_pylist())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BuildFailed(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _row(cells: Row) -> Row:
    return cells | {name: json.loads(cells[name]) for name in _AS_JSON if cells[name] is not None}


def describe(data: Path, rows: Sequence[Row], history: History) -> dict[str, Any]:
    """Return the content of ``dataset.json``. ``max_tokens`` is the longest row's number of ids."""
    return {
        "name": history.recipe_name,
        "sha256": file_sha256(data),
        "num_rows": len(rows),
        "num_tokens": sum(len(row["input_ids"]) for row in rows),
        "num_loss_tokens": num_loss_tokens(rows),
        "max_tokens": max((len(row["input_ids"]) for row in rows), default=0),
        "recipe": history.recipe,
        "recipe_sha256": history.recipe_sha256,
        "tokenizer_sha256": history.tokenizer_sha256,
        "stages": {stage.name: stage.digest for stage in history.stages},
        "funnel": [_entry(stage) for stage in history.stages],
        "code": history.code,
        "created": history.created,
    }


def _entry(stage: StageReport) -> dict[str, Any]:
    return {"stage": stage.name, "rows_in": stage.rows_in, "rows_out": stage.rows_out, "dropped": stage.dropped}


def num_loss_tokens(rows: Sequence[Row]) -> int:
    """Return the number of ids with a loss."""
    return sum(len(row["labels"]) - row["labels"].count(NO_LOSS) for row in rows)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of ``dataset.json``. Raises BuildFailed if it cannot be read."""
    path = folder / DESCRIPTION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildFailed(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise BuildFailed(f"{path}: got {str(found)[:40]!r}, allowed: a JSON object")
    return found
