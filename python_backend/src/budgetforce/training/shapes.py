# SPDX-License-Identifier: Apache-2.0
"""The shapes of the models that recipes start from, so that a plan needs no download."""

from __future__ import annotations

from pathlib import Path

from budgetforce.building.spec import QWEN2_5_32B, ModelShape
from budgetforce.errors import ConfigError
from budgetforce.training.recipe import ModelSettings

TINY_VOCABULARY = 384  # at most, rounded up to whole rows of the embedding
_KNOWN = {
    "Qwen/Qwen2.5-32B-Instruct": QWEN2_5_32B,
    "Qwen/Qwen2.5-7B-Instruct": ModelShape(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
    ),
    "Qwen/Qwen2.5-1.5B-Instruct": ModelShape(
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        vocab_size=151936,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
    ),
}


def shape_of(model: ModelSettings) -> ModelShape:
    """Return the shape of a recipe's model. Raises ConfigError for a base that is neither known here nor a folder."""
    if model.init is not None:
        init = model.init
        return ModelShape(
            hidden_size=init.hidden_size,
            intermediate_size=init.intermediate_size,
            num_hidden_layers=init.num_hidden_layers,
            num_attention_heads=init.num_attention_heads,
            num_key_value_heads=init.num_key_value_heads,
            vocab_size=TINY_VOCABULARY,
            max_position_embeddings=init.max_position_embeddings,
            tie_word_embeddings=init.tie_word_embeddings,
        )
    if Path(model.base).is_dir():
        return ModelShape.read(Path(model.base))
    if model.base not in _KNOWN:
        raise ConfigError(f"model.base: the shape of {model.base!r} is not known here: name a folder that holds its config.json")
    return _KNOWN[model.base]
