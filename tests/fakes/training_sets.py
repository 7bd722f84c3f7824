# SPDX-License-Identifier: Apache-2.0
"""Small training sets of additions, encoded by s1-tiny's tokenizer."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from budgetforce.curating import tokens
from budgetforce.curating.tiny_tokenizer import write_tokenizer

SMALL_MODEL = """\
[model.init]
tokenizer = "set/tokenizer"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 128
"""  # the table of a recipe: random weights that fit a set in the folder "set"


def with_base(recipe: str, base: object) -> str:
    """Return a recipe with ``SMALL_MODEL`` that begins with the weights of a folder instead."""
    return recipe.replace(SMALL_MODEL, "").replace("[model]\n", f'[model]\nbase = "{base}"\n')


def write_set(folder: Path, *, num_rows: int = 64, seed: int = 0, **card: Any) -> Path:
    """Write a set of ``num_rows`` sequences of 20 to 60 tokens; ``card`` replaces entries of its dataset.json."""
    write_tokenizer(folder / "tokenizer")
    encoder, rng = tokens.load(str(folder / "tokenizer")), random.Random(seed)
    numbers = [[rng.randrange(10) for _ in range(rng.randrange(2, 12))] for _ in range(num_rows)]
    prompts = encoder.encode_marked([f"<|im_start|>user\n{'+'.join(map(str, row))}<|im_end|>\n<|im_start|>assistant\n" for row in numbers])
    replies = encoder.encode_marked([f"<|im_start|>think\n{sum(row)}.\n<|im_start|>answer\n{sum(row)}<|im_end|>\n" for row in numbers])
    input_ids = [prompt + reply for prompt, reply in zip(prompts, replies, strict=True)]
    labels = [[-100] * len(prompt) + reply for prompt, reply in zip(prompts, replies, strict=True)]
    return write_rows(folder, input_ids, labels, tokenizer_sha256=encoder.sha256, **card)


def write_rows(folder: Path, input_ids: list[list[int]], labels: list[list[int]], **card: Any) -> Path:
    """Write a set of given sequences."""
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"input_ids": input_ids, "labels": labels}), folder / "data.parquet")
    lengths = list(map(len, input_ids))
    found = {
        "name": "additions",
        "sha256": hashlib.sha256((folder / "data.parquet").read_bytes()).hexdigest(),
        "tokenizer_sha256": "0" * 64,
        "num_rows": len(lengths),
        "num_tokens": sum(lengths),
        "max_tokens": max(lengths, default=0),
    }
    (folder / "dataset.json").write_text(json.dumps({**found, **card}))
    return folder
