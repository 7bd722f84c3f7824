# SPDX-License-Identifier: Apache-2.0
"""s1-tiny with as many embedding rows as wanted: the rows beyond its own belong to no token, as the last rows of Qwen2.5's do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from budgetforce.engine import model_files, packaged_models
from budgetforce.engine.gguf_files import read_safetensors

EMBEDDING = "model.embed_tokens.weight"


def prepare_padded(folder: Path, num_rows: int) -> model_files.ModelFiles:
    """Write the model as a Hugging Face folder, and return it as the engines read it. The new rows are zeros."""
    source, padded = packaged_models.locate("s1-tiny"), folder / "padded"
    padded.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, padded / name)
    config = json.loads((source / "config.json").read_text())
    (padded / "config.json").write_text(json.dumps({**config, "vocab_size": num_rows}))
    tensors = dict(read_safetensors(source))
    missing = num_rows - len(tensors[EMBEDDING])
    tensors[EMBEDDING] = np.pad(tensors[EMBEDDING], ((0, missing), (0, 0)))
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, padded / "model.safetensors")
    return model_files.prepare(str(padded), folder / "cache")
