# SPDX-License-Identifier: Apache-2.0
"""The shapes of the models that recipes start from, so that a plan needs no download."""

from __future__ import annotations

import json
from pathlib import Path

from budgetforce.building.spec import QWEN2_5_32B, ModelShape
from budgetforce.errors import ConfigError
from budgetforce.training.recipe import VOCABULARY_STEP, ModelSettings

TINY, TINY_VOCABULARY = "s1-tiny", 320  # its rows of the embedding
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
            vocab_size=_num_rows(init.tokenizer),
            max_position_embeddings=init.max_position_embeddings,
            tie_word_embeddings=init.tie_word_embeddings,
        )
    if Path(model.base).is_dir():
        return ModelShape.read(Path(model.base))
    if model.base not in _KNOWN:
        raise ConfigError(f"model.base: the shape of {model.base!r} is not known here: name a folder that holds its config.json")
    return _KNOWN[model.base]


def _num_rows(tokenizer: str) -> int:
    """Return the rows of the embedding for a tokenizer. Raises ConfigError for one that is neither s1-tiny's nor a folder."""
    if tokenizer == TINY:
        return TINY_VOCABULARY
    path = Path(tokenizer) / "tokenizer.json"
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        ids = [*spec["model"]["vocab"].values(), *(token["id"] for token in spec["added_tokens"])]
        largest: int = max(ids)
        return -(-(largest + 1) // VOCABULARY_STEP) * VOCABULARY_STEP
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        text = f"the vocabulary of {tokenizer!r} is not known here: name a folder that holds its tokenizer.json"
        raise ConfigError(f"model.init.tokenizer: {text}") from None
