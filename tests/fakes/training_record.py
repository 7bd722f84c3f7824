# SPDX-License-Identifier: Apache-2.0
"""The record that a training leaves beside a model's weights, without a training."""

from __future__ import annotations

import json
from pathlib import Path

from budgetforce.provenance import DATASET, TRAINING, weights_sha256

DATASET_SHA256, RECIPE_SHA256 = "d" * 64, "e" * 64


def write_record(folder: Path, **changes: object) -> Path:
    """Write both files into a model's folder, with the SHA-256 of the weights that lie there; ``changes`` by key of training.json."""
    record = {
        "name": "tiny",
        "recipe": {"name": "tiny"},
        "recipe_sha256": RECIPE_SHA256,
        "dataset": {"name": "puzzles", "sha256": DATASET_SHA256, "num_rows": 5},
        "base": {"init": {"hidden_size": 96}},
        "versions": {"torch": "2.13.0"},
        "num_steps": 470,
        "final_loss": 0.05,
        "weights_sha256": weights_sha256(sorted(folder.glob("*.safetensors"))),
        **changes,
    }
    (folder / DATASET).write_text(json.dumps({"name": "puzzles", "sha256": DATASET_SHA256}))
    path = folder / TRAINING
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    return path
