# SPDX-License-Identifier: Apache-2.0
"""Training recipes: the bundled ones are the paper's, and a wrong key or value is refused by name."""

from __future__ import annotations

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
    ("old", "new", "said"),
    [
        ("lr = 3e-3", "lr = -1.0", r"\[optim\] lr: got -1.0, allowed: a number > 0"),
        ('average = "token"', 'average = "mean"', "loss.average: got .*mean.*, allowed: 'sample', 'token'"),
        ("clip = 1.0", "clip = 1.0\ngrad_clip = 1.0", "optim.grad_clip: unknown key, allowed: .*clip"),
        ("global_batch = 32", "global_batch = 0", "global_batch: got 0, allowed: an integer >= 1"),
        ("max_length = 2048", "", "loss.max_length: missing"),
        ("[model.init]", 'base = "Qwen/Qwen2.5-7B-Instruct"\n[model.init]', "allowed: either base or a table"),
        ("hidden_size = 128", "hidden_size = 130", "hidden_size: got 130, allowed: a multiple of num_attention_heads"),
        ("betas = [0.9, 0.98]", "betas = [0.9]", "betas: got .*, allowed: two numbers"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path, old, new, said):
    text = (RECIPES / "tiny.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
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
