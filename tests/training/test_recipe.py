# SPDX-License-Identifier: Apache-2.0
"""Training recipes: the bundled ones are the paper's, and a wrong key or value is refused by name."""

from __future__ import annotations

import re

import pytest

from budgetforce.errors import ConfigError
from budgetforce.training.recipe import RECIPES, load_recipe, recipe_names
from budgetforce.training.schedule import num_steps, num_warmup_steps


@pytest.mark.parametrize("name", recipe_names())
def test_every_bundled_recipe_loads_under_its_own_name(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", ["s1-32b", "s1.1-32b", "s1-7b", "s1-1.5b"])
def test_the_papers_hyper_parameters(name):
    """arXiv 2501.19393, appendix C: 5 epochs of 1,000 samples at batch 16 are 315 steps, of which 5 % warm up."""
    recipe = load_recipe(name)
    optim, batch = recipe.optim, recipe.batch
    assert (optim.name, optim.lr, optim.betas, optim.weight_decay, optim.min_lr_share) == ("adamw", 1e-5, (0.9, 0.95), 1e-4, 0.0)
    assert (num_steps(1000, batch), num_warmup_steps(optim, 315)) == (315, 16)
    assert (recipe.loss.average, recipe.precision.compute) == ("sample", "bfloat16")


def test_block_sizes_of_the_paper():
    assert (load_recipe("s1-32b").loss.max_length, load_recipe("s1-32b").loss.on_too_long) == (32768, "refuse")
    assert (load_recipe("s1.1-32b").loss.max_length, load_recipe("s1.1-32b").loss.on_too_long) == (20000, "cut")


@pytest.mark.parametrize(
    ("key", "new", "said"),
    [
        ("lr", "lr = -1.0", r"\[optim\] lr: got -1.0, allowed: a number > 0"),
        ("average", 'average = "mean"', "loss.average: got .*mean.*, allowed: 'sample', 'token'"),
        ("clip", "clip = 1.0\ngrad_clip = 1.0", "optim.grad_clip: unknown key, allowed: .*clip"),
        ("global_batch", "global_batch = 0", "global_batch: got 0, allowed: an integer >= 1"),
        ("max_length", "", "loss.max_length: missing"),
        ("pad_token", 'base = "Qwen/Qwen2.5-7B-Instruct"', "allowed: either base or a table"),
        ("hidden_size", "hidden_size = 130", "hidden_size: got 130, allowed: a multiple of num_attention_heads"),
        ("betas", "betas = [0.9]", "betas: got .*, allowed: two numbers"),
        ("seed", "seed = -5", r"seed: got -5, allowed: an integer from 0 to 2\*\*32 - 1"),
        ("warmup", "warmup = 60.5", r"warmup: got 60.5, allowed: a share, 0 <= share < 1, or a whole number of steps"),
        ("warmup", "warmup = inf", "optim.warmup: got Infinity, allowed: a finite number"),
        ("clip", "clip = 1.0\neps = 0.0", "eps: got 0.0, allowed: a number > 0"),
        ("matrix_weight_decay", "matrix_weight_decay = -1.0", "matrix_weight_decay: got -1.0, allowed: a number >= 0"),
        ("matrix_momentum", "matrix_momentum = 1.0", "matrix_momentum: got 1.0, allowed: 0 <= momentum < 1"),
        ("num_attention_heads", "num_attention_heads = 0", "num_attention_heads: got 0, allowed: an integer >= 1"),
        ("num_key_value_heads", "num_key_value_heads = 2", "num_attention_heads: got 3, allowed: a multiple of num_key_value_heads"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path, key, new, said):
    text, num_replaced = re.subn(rf"^{key} = .*$", new, (RECIPES / "tiny.toml").read_text(), flags=re.M)
    assert num_replaced == 1
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"mine.toml: .*{said}"):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_known():
    with pytest.raises(ConfigError, match=r"got 'huge', allowed: s1-1.5b, .*tiny"):
        load_recipe("huge")


def test_the_expected_set_does_not_change_what_a_run_is(tmp_path):
    """It is only for plans: a corrected estimate must not make a trained model another one."""
    text = (RECIPES / "s1-32b.toml").read_text()
    (tmp_path / "other.toml").write_text(text.replace("4_700_000", "4_800_000"))
    assert load_recipe(str(tmp_path / "other.toml")).sha256 == load_recipe("s1-32b").sha256
