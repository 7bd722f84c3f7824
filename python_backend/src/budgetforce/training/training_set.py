# SPDX-License-Identifier: Apache-2.0
"""A published training set: its sequences of ids and labels, checked against its dataset.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.masking import NO_LOSS
from budgetforce.training.recipe import LossSettings

DATA, CARD = "data.parquet", "dataset.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Sequences to train on.

    Attributes:
        folder: the published set.
        card: its dataset.json.
        input_ids, labels: int64 arrays, one a sequence, of equal lengths; a label of -100 has no loss.
        num_dropped, num_cut: sequences that were longer than the recipe's max_length.
    """

    folder: Path
    card: dict[str, Any]
    input_ids: list[Any]
    labels: list[Any]
    num_dropped: int = 0
    num_cut: int = 0

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each sequence."""
        return [len(ids) for ids in self.input_ids]


def read_card(folder: Path) -> dict[str, Any]:
    """Return a set's dataset.json, once the data's digest has been compared with it. Raises BuildFailed."""
    try:
        card: dict[str, Any] = dict(json.loads((folder / CARD).read_text(encoding="utf-8")))
        with (folder / DATA).open("rb") as data:
            found = hashlib.file_digest(data, "sha256").hexdigest()
    except (OSError, ValueError, TypeError) as error:
        raise BuildFailed(f"{folder} is not a published training set ({DATA} and {CARD}): {error}") from None
    for name in ("name", "sha256", "tokenizer_sha256"):
        if not isinstance(card.get(name), str):
            raise BuildFailed(f"{folder / CARD}: {name}: got {card.get(name)!r}, allowed: a string")
    if card["sha256"] != found:
        raise BuildFailed(f"{folder / DATA} is not the file that {CARD} describes: SHA-256 {found[:12]}, expected {card['sha256'][:12]}")
    return card


def read_set(folder: Path, loss: LossSettings) -> TrainingSet:
    """Read a set and apply the recipe's rule for sequences that are too long. Raises BuildFailed naming the row that is wrong."""
    card = read_card(folder)
    input_ids, labels = _columns(folder / DATA)
    too_long = [row for row, ids in enumerate(input_ids) if len(ids) > loss.max_length]
    if too_long and loss.on_too_long == "refuse":
        row = max(too_long, key=lambda number: len(input_ids[number]))
        raise BuildFailed(
            f"{folder / DATA}: {len(too_long)} of {len(input_ids)} sequences are longer than max_length {loss.max_length}, the longest is "
            f"row {row} with {len(input_ids[row])} tokens: raise loss.max_length, or set loss.on_too_long to 'drop' or 'cut'"
        )
    kept = [row for row in range(len(input_ids)) if loss.on_too_long == "cut" or len(input_ids[row]) <= loss.max_length]
    cut_ids = [input_ids[row][: loss.max_length] for row in kept]
    cut_labels = [labels[row][: loss.max_length] for row in kept]
    trained = _with_loss(cut_labels, kept, set(too_long), folder / DATA)
    return TrainingSet(
        folder=folder,
        card=card,
        input_ids=[cut_ids[index] for index in trained],
        labels=[cut_labels[index] for index in trained],
        num_dropped=len(input_ids) - len(trained),
        num_cut=len(too_long) - (len(kept) - len(trained)) if loss.on_too_long == "cut" else 0,
    )


def _with_loss(labels: list[Any], rows: list[int], cut: set[int], path: Path) -> list[int]:
    """Return the positions of the sequences that have a loss; only a cut may have taken the loss of the others."""
    trained = [index for index, row_labels in enumerate(labels) if (row_labels[1:] != NO_LOSS).any()]
    without = sorted(set(range(len(labels))) - set(trained))
    uncut = [rows[index] for index in without if rows[index] not in cut]
    if uncut:
        raise BuildFailed(f"{path}: row {uncut[0]} has no token with a loss (all labels are {NO_LOSS})")
    if not trained:
        raise BuildFailed(f"{path} holds no sequence to train on")
    return trained


def _columns(path: Path) -> tuple[list[Any], list[Any]]:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=["input_ids", "labels"]).combine_chunks()  # type: ignore[no-untyped-call]
        columns = [table.column(name).combine_chunks() for name in ("input_ids", "labels")]
        flat = [np.asarray(column.flatten(), dtype=np.int64) for column in columns]
        ends = [np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))[:-1] for column in columns]
    except (OSError, pa.ArrowException, AttributeError, ValueError) as error:
        raise BuildFailed(f"{path}: columns input_ids and labels, lists of integers, cannot be read: {error}") from None
    input_ids, labels = (np.split(values, end) for values, end in zip(flat, ends, strict=True))
    for row, (ids, row_labels) in enumerate(zip(input_ids, labels, strict=True)):
        if len(ids) != len(row_labels):
            raise BuildFailed(f"{path}: row {row} has {len(ids)} input_ids and {len(row_labels)} labels")
    return input_ids, labels
