# SPDX-License-Identifier: Apache-2.0
"""A run replaces no other run's checkpoint, and errors that PyTorch raises reach the user as one sentence."""

from __future__ import annotations

import pytest
from training_record import write_record
from training_sets import SMALL_MODEL, with_base, write_set

from budgetforce.building.stage import BuildFailed
from budgetforce.provenance import record_of
from budgetforce.training import sft
from budgetforce.training.__main__ import main
from budgetforce.training.recipe import load_recipe
from budgetforce.training.sft_command import readable_errors
from budgetforce.training.training_set import read_set


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("[enforce fail at inline_container.cc:882] . PytorchStreamWriter failed: file write failed"),
            "the disk is full: .*WORK",
        ),
        (OSError(28, "No space left on device"), "the disk is full: free space for WORK"),
        (PermissionError(13, "Permission denied", "WORK/log{1}.jsonl"), r"WORK/log\{1\}.jsonl: Permission denied"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "the memory of a GPU is full: lower batch.per_device"),
    ],
)
def test_a_full_disk_and_full_gpus_are_one_sentence(error, said):
    with pytest.raises(BuildFailed, match=said), readable_errors("WORK"):
        raise error


def test_an_error_of_ours_stays_what_it_is():
    """A bug must not be reported as a full disk."""
    with pytest.raises(KeyError), readable_errors("WORK"):
        raise KeyError("labels")


RECIPE = f"""
name = "small"
[model]
pad_token = "<|endoftext|>"
{SMALL_MODEL}[optim]
lr = 1e-3
[batch]
global_batch = 8
epochs = 1
[loss]
average = "sample"
max_length = 128
"""


def test_a_checkpoint_of_another_run_is_not_replaced_unless_that_is_wanted(tmp_path, monkeypatch, capsys):
    """It may be days of work, and a run that starts removes it only at its end."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "set", num_rows=8)
    (tmp_path / "small.toml").write_text(RECIPE)
    (tmp_path / "work/checkpoint").mkdir(parents=True)
    command = ["sft", "--recipe", "small.toml", "--data", "set", "--work", "work", "--dry-run"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "work/checkpoint was trained by another recipe or on another training set, or has changed" in said
    assert "add --restart to replace it" in said
    assert main([*command, "--restart"]) == 0
    assert "starts at step 0" in capsys.readouterr().err


def test_another_checkpoint_in_the_folder_of_the_base_is_another_run(tmp_path):
    """Else a run on it would be taken for trained already."""
    base, runs = tmp_path / "base", []
    base.mkdir()
    recipe = with_base(RECIPE, base)
    (tmp_path / "further.toml").write_text(recipe)
    loaded = load_recipe(str(tmp_path / "further.toml"))
    data = read_set(write_set(tmp_path / "set", num_rows=8), loaded.loss)
    for name in ("first", "second"):
        write_record(base, name=name)
        job = sft.Job(recipe=loaded, data=data, tokenizer=base, work=tmp_path / "work")
        assert job.base_record == {"base": record_of(base).id}
        runs.append(job.stage.digest)
    assert runs[0] != runs[1]
