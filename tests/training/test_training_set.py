# SPDX-License-Identifier: Apache-2.0
"""Reading a published training set: what is checked, and what happens to long sequences."""

from __future__ import annotations

import json

import pytest
from training_sets import write_rows, write_set

from budgetforce.building.stage import BuildFailed
from budgetforce.training.recipe import LossSettings
from budgetforce.training.training_set import read_set

IDS = [[1, 2, 3], list(range(10)), list(range(6)), [5, 6]]
LABELS = [[-100, 2, 3], [-100] * 9 + [9], [-100, 1, 2, 3, 4, 5], [-100, 6]]


def loss(max_length, on_too_long="refuse"):
    return LossSettings(average="sample", max_length=max_length, on_too_long=on_too_long)


def test_sequences_come_as_they_are(tmp_path):
    data = read_set(write_rows(tmp_path / "set", IDS, LABELS), loss(10))
    assert [list(ids) for ids in data.input_ids] == IDS
    assert [list(labels) for labels in data.labels] == LABELS
    assert (data.lengths, data.num_dropped, data.num_cut) == ([3, 10, 6, 2], 0, 0)


def test_long_sequences_are_refused_with_their_number_and_the_longest(tmp_path):
    with pytest.raises(BuildFailed, match="2 of 4 sequences are longer than max_length 5, the longest is row 1 with 10 tokens"):
        read_set(write_rows(tmp_path / "set", IDS, LABELS), loss(5))


def test_long_sequences_are_dropped_and_counted(tmp_path):
    data = read_set(write_rows(tmp_path / "set", IDS, LABELS), loss(5, "drop"))
    assert (data.lengths, data.num_dropped, data.num_cut) == ([3, 2], 2, 0)


def test_long_sequences_are_cut_and_one_without_a_loss_left_is_dropped(tmp_path):
    data = read_set(write_rows(tmp_path / "set", IDS, LABELS), loss(5, "cut"))
    assert (data.lengths, data.num_dropped, data.num_cut) == ([3, 5, 2], 1, 1)
    assert list(data.labels[1]) == [-100, 1, 2, 3, 4]


@pytest.mark.parametrize("on_too_long", ["refuse", "drop", "cut"])
def test_a_row_that_just_fits_and_has_no_loss_is_refused(tmp_path, on_too_long):
    """Only a cut may take a row's loss."""
    folder = write_rows(tmp_path / "set", [[1, 2], [3, 4, 5]], [[-100, 2], [-100, -100, -100]])
    with pytest.raises(BuildFailed, match="row 1 has no token with a loss"):
        read_set(folder, loss(3, on_too_long))


def test_data_that_the_card_does_not_describe_is_refused(tmp_path):
    folder = write_set(tmp_path / "set")
    write_rows(tmp_path / "other", IDS, LABELS)
    (tmp_path / "other/data.parquet").replace(folder / "data.parquet")
    with pytest.raises(BuildFailed, match="is not the file that dataset.json describes: SHA-256 [0-9a-f]{12}, expected [0-9a-f]{12}"):
        read_set(folder, loss(99))


@pytest.mark.parametrize(
    ("ids", "labels", "said"),
    [
        ([[1, 2], [3, 4]], [[-100, 2], [-100]], "row 1 has 2 input_ids and 1 labels"),
        ([[1, 2], [3, 4]], [[-100, 2], [-100, -100]], "row 1 has no token with a loss"),
        ([["a"]], [["b"]], "columns input_ids and labels, lists of integers, cannot be read"),
        ([], [], "holds no sequence to train on|cannot be read"),
    ],
)
def test_wrong_rows_are_refused_by_number(tmp_path, ids, labels, said):
    with pytest.raises(BuildFailed, match=said):
        read_set(write_rows(tmp_path / "set", ids, labels), loss(9))


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(BuildFailed, match="is not a published training set"):
        read_set(tmp_path, loss(9))


def test_a_card_without_a_digest_is_refused(tmp_path):
    folder = write_rows(tmp_path / "set", IDS, LABELS)
    (folder / "dataset.json").write_text("[1]")
    with pytest.raises(BuildFailed, match="is not a published training set"):
        read_set(folder, loss(9))
    (folder / "dataset.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(BuildFailed, match="sha256: got None, allowed: a string"):
        read_set(folder, loss(9))
