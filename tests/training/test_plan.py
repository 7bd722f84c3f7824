# SPDX-License-Identifier: Apache-2.0
"""The plan of a training run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from training_sets import write_set

from budgetforce.building.gpus import parse_gpus
from budgetforce.errors import ConfigError
from budgetforce.training.__main__ import main
from budgetforce.training.planner import TrainingPlan
from budgetforce.training.recipe import ModelSettings, load_recipe
from budgetforce.training.shapes import shape_of


def plan(gpus, recipe="s1-32b"):
    loaded, (num_gpus, gpu) = load_recipe(recipe), parse_gpus(gpus)
    return TrainingPlan(recipe=loaded, shape=shape_of(loaded.model), data=loaded.expected, num_gpus=num_gpus, gpu=gpu)


def test_the_authors_run():
    """16 H100: 315 steps in 26 minutes, 7 GPU-hours (arXiv 2501.19393, section 4.1)."""
    made = plan("16xH100")
    assert made.fits
    assert (made.num_steps, made.accumulation) == (315, 1)
    assert made.seconds[1] / 60 == pytest.approx(26, rel=0.05)


def test_weights_gradients_and_adamw_are_16_bytes_a_parameter():
    made = plan("16xH100").memory_bytes
    states = 16 * (made["weights"] + made["gradients"] + made["AdamW"])
    assert states == pytest.approx(16 * 32.76e9, rel=1e-3)


@pytest.mark.parametrize(("gpus", "bytes_per_parameter"), [("1xH200", 12), ("2xH200", 16)])
def test_a_state_on_disk_has_the_weights_twice_if_several_processes_share_them(gpus, bytes_per_parameter):
    """Seen: model.safetensors, optimizer.bin and, under FSDP2, pytorch_model_fsdp.bin; while a state is written there are two."""
    made = plan(gpus, "s1-1.5b")
    assert made.disk_bytes["states"] == 2 * bytes_per_parameter * made.shape.num_parameters


def test_float32_computation_needs_twice_the_memory_for_gathered_layers():
    made = plan("16xH100")
    in_float32 = replace(made, recipe=replace(made.recipe, precision=replace(made.recipe.precision, compute="float32")))
    assert in_float32.memory_bytes["gathered layers"] == 2 * made.memory_bytes["gathered layers"]


def test_sizes_of_the_models():
    sizes = {name: shape_of(load_recipe(name).model).num_parameters / 1e9 for name in ("s1-32b", "s1-7b", "s1-1.5b")}
    assert sizes == pytest.approx({"s1-32b": 32.764, "s1-7b": 7.616, "s1-1.5b": 1.544}, abs=1e-3)


def test_eight_gpus_do_not_hold_it_and_sixteen_do(capsys):
    """As users found on 8 x 80 GB (simplescaling/s1, issues 13 and 61); on 8 x H200 it worked (issue 41)."""
    assert main(["plan", "--recipe", "s1-32b", "--gpus", "8xH100"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Does not fit: each GPU needs ")
    assert said.endswith("it fits with 16xH100.\n")
    assert plan("8xH200").fits


def test_fewer_gpus_take_the_same_steps_in_more_time():
    sixteen, eight = plan("16xH200"), plan("8xH200")
    assert (sixteen.num_steps, sixteen.num_tokens) == (eight.num_steps, eight.num_tokens)
    assert eight.accumulation == 2
    assert eight.seconds[1] == pytest.approx(2 * sixteen.seconds[1])


def test_gpus_that_do_not_divide_the_batch_are_refused(capsys):
    assert main(["plan", "--recipe", "s1-32b", "--gpus", "12xH100"]) == 1
    assert "use 1, 2, 4, 8 or 16 processes" in capsys.readouterr().err


def test_a_set_replaces_the_recipes_sizes(tmp_path, capsys):
    folder = write_set(tmp_path / "set", num_rows=320)
    assert main(["plan", "--recipe", "tiny", "--gpus", "1xH100", "--data", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_steps"], found["fits"]) == (10, True)


def test_a_set_that_the_training_would_refuse_has_no_plan(tmp_path, capsys):
    (tmp_path / "dataset.json").write_text('{"num_rows": 10, "num_tokens": 100000, "max_tokens": 40000}')
    assert main(["plan", "--recipe", "s1-1.5b", "--gpus", "1xH200", "--data", str(tmp_path)]) == 1
    assert "the longest sequence has 40,000 tokens, and recipe s1-1.5b allows 32,768" in capsys.readouterr().err


def test_a_model_from_random_weights_is_as_large_as_its_tokenizer_needs(tmp_path):
    init = load_recipe("tiny").model.init
    assert shape_of(load_recipe("tiny").model).num_parameters == 511_968
    spec = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 1000, "content": "<|x|>"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    assert shape_of(ModelSettings(init=replace(init, tokenizer=str(tmp_path)))).vocab_size == 1024
    with pytest.raises(ConfigError, match="model.init.tokenizer: the vocabulary of 'owner/name' is not known here"):
        shape_of(ModelSettings(init=replace(init, tokenizer="owner/name")))


def test_a_recipe_without_sizes_wants_a_set(capsys):
    assert main(["plan", "--recipe", "tiny", "--gpus", "1xH100"]) == 1
    assert "add --data SET" in capsys.readouterr().err


def test_a_plan_needs_only_the_standard_library(root):
    """-S leaves out all installed packages."""
    command = [sys.executable, "-S", root / "build/train.py", "plan", "--recipe", "s1-32b", "--gpus", "16xH100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not yet run on GPUs" in done.stdout


def test_a_reader_that_has_gone_is_no_traceback(root):
    """As with ``| head``."""
    command = [sys.executable, root / "build/train.py", "plan", "--recipe", "s1-32b", "--gpus", "16xH100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
