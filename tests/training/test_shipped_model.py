# SPDX-License-Identifier: Apache-2.0
"""The weights of s1-tiny in the package were made by the recipes, the tokenizer and the commands of this version."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import pytest
from safetensors import safe_open

from budgetforce.curating import recipe as data_recipe
from budgetforce.curating.tiny_tokenizer import write_tokenizer
from budgetforce.curating.tokens import Tokens
from budgetforce.engine import packaged_models
from budgetforce.provenance import weights_sha256
from budgetforce.training import recipe as training_recipe

S1_TINY = packaged_models.locate(packaged_models.S1_TINY)


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """The training record that comes with the weights."""
    return json.loads((S1_TINY / "training.json").read_text())


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    """The record of the data set that the weights were trained on."""
    return json.loads((S1_TINY / "dataset.json").read_text())


def test_the_weights_are_those_of_the_record(trained):
    assert weights_sha256(S1_TINY) == trained["weights_sha256"]


def test_the_bundled_training_recipe_is_the_one_they_were_trained_by(trained):
    assert training_recipe.load_recipe("tiny").sha256 == trained["recipe_sha256"]


def test_the_bundled_data_recipe_is_the_one_the_data_were_made_by(trained, card):
    assert data_recipe.load_recipe("tiny").sha256 == card["recipe_sha256"]
    assert (card["sha256"], card["num_rows"], card["num_tokens"]) == (
        trained["dataset"]["sha256"],
        trained["dataset"]["num_rows"],
        trained["num_tokens"],
    )


def test_the_tokenizer_is_the_one_that_is_written_today(card, tmp_path):
    write_tokenizer(tmp_path)
    assert Tokens(S1_TINY).sha256 == Tokens(tmp_path).sha256 == card["tokenizer_sha256"]


def test_half_a_million_parameters():
    with safe_open(S1_TINY / "model.safetensors", "numpy") as weights:
        assert sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys()) == 511_968  # noqa: SIM118  # no mapping
