# SPDX-License-Identifier: Apache-2.0
"""Training runs in .s1/train: a killed run, several processes, accumulation and a full disk lead to the same model."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from training_sets import SMALL_MODEL, with_base, write_set

from budgetforce.provenance import check_weights, record_of
from budgetforce.training.states import last_state

pytestmark = pytest.mark.xdist_group("training")  # all tests read the same runs

RECIPE = """
name = "{name}"
seed = 3
[model]
pad_token = "<|endoftext|>"
{model}[optim]
name = "muon+adamw"
lr = 3e-3
matrix_weight_decay = 0.01
warmup = 2
[batch]
global_batch = {global_batch}
per_device = {per_device}
epochs = 1
length_grouped = true
[loss]
average = "{average}"
max_length = 128
[precision]
compute = "float32"
save = "float32"
[states]
every_steps = {every_steps}
"""
# Sums over sequences in another order: float32 rounds them differently, and Muon's six steps carry that on.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def python(root: Path) -> Path:
    """The environment for training; made here by the first test that needs it."""
    subprocess.run([sys.executable, root / "build/train.py", "setup"], check=True)
    return root / ".s1" / "train" / "bin" / "python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and recipes that differ in how a global batch is split and averaged."""
    folder = tmp_path_factory.mktemp("training")
    write_set(folder / "set", num_rows=44)  # six steps of 8, the last one filled up
    for name, average, global_batch, per_device, every_steps in (
        ("whole", "sample", 8, 2, 4),
        ("at-once", "sample", 8, 8, 4),
        ("sixteen", "sample", 16, 2, 4),
        ("token", "token", 8, 2, 4),
        ("token-at-once", "token", 8, 8, 4),
        ("often", "sample", 8, 2, 2),
    ):
        values = {"average": average, "global_batch": global_batch, "per_device": per_device, "every_steps": every_steps}
        text = RECIPE.format(name="test", model=SMALL_MODEL, **values)
        (folder / f"{name}.toml").write_text(text)
    _write_broken_base(folder, text)
    return folder


def _write_broken_base(folder: Path, recipe: str) -> None:
    """Write a recipe whose base has a file of weights that is cut off."""
    (folder / "broken.toml").write_text(with_base(recipe, "base"))
    shutil.copytree(folder / "set/tokenizer", folder / "base")
    (folder / "base/config.json").write_text('{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}')
    (folder / "base/model.safetensors").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff")


@pytest.fixture(scope="module")
def runs(python: Path, folder: Path) -> tuple[dict[str, int], str]:
    """Exit codes of all runs, and all that they said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, Path(__file__).with_name("runs.py"), folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1]), done.stderr


def weights(work: Path) -> dict[str, np.ndarray]:
    return load_file(work / "checkpoint/model.safetensors")


def distance(first: Path, second: Path) -> float:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_a_killed_run_ends_with_the_same_bytes(runs, folder):
    """Killed after four of six steps while the next state was half-written, and started again."""
    codes, said = runs
    assert (codes["killed"], codes["resumed"], codes["whole"]) == (9, 0, 0)
    assert "continues at step 4" in said
    paths = [folder / name / "checkpoint/model.safetensors" for name in ("resumed", "whole")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_kill_before_a_state_is_marked_leaves_the_state_before(runs, folder):
    """With ``keep = 1``: the older state is removed only when the newer one is complete."""
    exit_codes, _ = runs
    last = last_state(folder / "unmarked/states")
    assert (exit_codes["killed before marking"], last and last.name) == (9, "checkpoint-2")


def test_a_base_with_broken_weights_is_one_sentence(runs):
    exit_codes, said = runs
    assert exit_codes["broken base"] == 1
    assert "BUILD: base base cannot be loaded: " in said


def test_the_log_of_a_killed_run_has_each_step_once(runs, folder):
    logs = [(folder / name / "log.jsonl").read_text().splitlines() for name in ("resumed", "whole")]
    resumed, whole = ([{**json.loads(line), "seconds": 0} for line in log] for log in logs)
    assert [record["step"] for record in whole] == [1, 2, 3, 4, 5, 6]
    assert resumed == whole


def test_resume_wants_a_state(runs):
    codes, said = runs
    assert codes["nothing to resume"] == 1
    assert "states holds no state to continue from" in said


def test_states_of_another_recipe_are_not_continued(runs):
    """Not even silently removed: they may be hours of work."""
    codes, said = runs
    assert codes["other recipe"] == 1
    assert "holds a run with another recipe" in said
    assert "add --restart to give that run up" in said


def test_a_finished_run_is_not_repeated(runs):
    codes, said = runs
    assert codes["again"] == 0
    assert "whole/checkpoint is trained already" in said


@pytest.mark.parametrize(("accumulated", "at_once"), [("whole", "at-once"), ("token", "token-at-once")])
def test_accumulation_does_not_change_the_model(runs, folder, accumulated, at_once):
    assert distance(folder / accumulated, folder / at_once) < TOLERANCE


def test_both_averages_train_and_differ(runs, folder):
    """Sequences have different lengths: the mean over tokens weighs long ones more."""
    assert distance(folder / "whole", folder / "token") > 10 * TOLERANCE


@pytest.mark.parametrize(("alone", "shared"), [("whole", "shared"), ("token", "shared-token")])
def test_two_processes_train_the_same_model(runs, folder, alone, shared):
    """FSDP2 over two processes, with the same global batch."""
    assert distance(folder / alone, folder / shared) < TOLERANCE


def test_training_json_records_the_processes(runs, folder):
    record = json.loads((folder / "shared/checkpoint/training.json").read_text())
    assert (record["world_size"], record["accumulation"], record["loss_average"]) == (2, 2, "sample")


def test_a_full_disk_leaves_no_checkpoint_and_the_next_run_writes_it(runs, folder):
    codes, said = runs
    assert (codes["full disk"], codes["disk freed"]) == (1, 0)
    assert "BUILD: the disk is full" in said
    assert "Traceback" not in said
    assert distance(folder / "full-disk", folder / "whole") == 0


def test_the_checkpoint_is_a_model_that_can_be_served(runs, folder):
    """The record belongs to the weights; the chat template is where programs look for it; every user can read the files."""
    checkpoint = folder / "whole/checkpoint"
    check_weights(checkpoint)
    record = record_of(checkpoint)
    assert record is not None
    assert record.name == "test"
    assert "<|im_start|>" in json.loads((checkpoint / "tokenizer_config.json").read_text())["chat_template"]
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["vocab_size"] % 32 == 0
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in checkpoint.iterdir())
    assert (checkpoint / "training.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "whole/states").exists()
