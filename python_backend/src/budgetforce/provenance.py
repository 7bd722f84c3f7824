# SPDX-License-Identifier: Apache-2.0
"""How a model was trained, from the files that ``build/train.py`` leaves beside its weights. Standard library only.

* ``training.json``: recipe, base model, data set, and the SHA-256 of the weights;
* ``dataset.json``: the data set's own record, a copy of the file in the data set.

A model has no record unless it was trained with this project's commands. A record that is broken, or that belongs to other weights, is
refused: a wrong record is worse than none.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any

from budgetforce.errors import ConfigError

TRAINING, DATASET = "training.json", "dataset.json"
MANIFEST = "manifest.json"  # of an engine (budgetforce.building.manifest), which holds the record of its checkpoint
_SHA256 = re.compile("[0-9a-f]{64}")
_ID = re.compile("[0-9a-f]{12}")
_REMOVE = f"remove {TRAINING} and {DATASET} if they belong to another model"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """How a model was trained.

    Attributes:
        id: first 12 hexadecimal digits of the SHA-256 of training.json, which names the training as a whole.
        name: the training's name, which is the recipe's.
        base_model: hub id or folder name of the model that was trained further, with its commit, or the id of its own record, behind an
            ``@``; "" = trained from random weights.
        dataset: name of the data set.
        dataset_sha256: SHA-256 of its data.parquet.
        recipe_sha256: SHA-256 of the training recipe.
        weights_sha256: digest of the weights, see function ``weights_sha256``.
    """

    id: str
    name: str
    base_model: str
    dataset: str
    dataset_sha256: str
    recipe_sha256: str
    weights_sha256: str

    def __str__(self) -> str:
        base = f"from {self.base_model}" if self.base_model else "from random weights"
        return f"{self.id}: {self.name}, {base}, on {self.dataset} ({self.dataset_sha256[:12]}), recipe {self.recipe_sha256[:12]}"


def record_of(folder: Path) -> TrainingRecord | None:
    """Return the training record in a model's folder; None if it has none. Raises ConfigError for a broken record."""
    return load_record(folder / TRAINING) if (folder / TRAINING).is_file() else None


def load_record(path: Path) -> TrainingRecord | None:
    """Return the record in a training.json, which must agree with the dataset.json beside it, or in an engine's manifest.json.

    Returns None for the manifest of an engine whose model has no record. Raises ConfigError naming the file and the key.
    """
    content = _read(path)
    if path.name == MANIFEST:
        found = _object(path, content).get("training")
        return None if found is None else from_manifest(path, found)
    record = _parse(path, content)
    _check_dataset(record, path.with_name(DATASET))
    return record


def from_manifest(path: Path, found: Any) -> TrainingRecord:
    """Return the record in key ``training`` of an engine's manifest. Raises ConfigError naming the file and the key."""
    names = [field.name for field in fields(TrainingRecord)]
    if not isinstance(found, dict) or set(found) != set(names):
        raise ConfigError(f"{path}: key 'training': expected an object with {', '.join(names)}, or null")
    texts = {name: _text(path, found, name, "training.") for name in names if name != "base_model"}
    digests = {name: _sha256(path, found, name, "training.") for name in names if name.endswith("_sha256")}
    if not _ID.fullmatch(texts["id"]):
        raise _refused(path, "training.id", texts["id"], "12 hexadecimal digits")
    return TrainingRecord(**{**texts, **digests, "base_model": str(found["base_model"])})


def copy_record(model: Path, out: Path) -> None:
    """Copy a model's record, if it has one, into another folder. Raises ConfigError for a record that is broken."""
    if record_of(model) is not None:
        for name in (TRAINING, DATASET):
            if (model / name).is_file():
                shutil.copy(model / name, out / name)


def check_weights(model: Path) -> None:
    """Raise ConfigError if a model's record belongs to other weights. Reads all weights; a model without a record passes unread."""
    record = record_of(model)
    if record is None:
        return
    found = weights_sha256(model)
    if found != record.weights_sha256:
        text = f"the weights have SHA-256 {found[:12]}…, key 'weights_sha256' says {record.weights_sha256[:12]}…"
        raise ConfigError(f"{model / TRAINING}: {text}: {_REMOVE}")


def weights_sha256(model: Path) -> str:
    """Return one digest of all safetensors files of a folder, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(f"{path.name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _parse(path: Path, content: bytes) -> TrainingRecord:
    data = _object(path, content)
    dataset = _part(path, data, "dataset")
    return TrainingRecord(
        id=hashlib.sha256(content).hexdigest()[:12],
        name=_text(path, data, "name"),
        base_model=_base_model(path, _part(path, data, "base")),
        dataset=_text(path, dataset, "name", "dataset."),
        dataset_sha256=_sha256(path, dataset, "sha256", "dataset."),
        recipe_sha256=_sha256(path, data, "recipe_sha256"),
        weights_sha256=_sha256(path, data, "weights_sha256"),
    )


def _base_model(path: Path, base: Mapping[str, Any]) -> str:
    if "model" not in base:
        if "init" not in base:
            raise ConfigError(f"{path}: key 'base' has neither 'model' nor 'init'")
        return ""
    model, commit = _text(path, base, "model", "base."), base.get("commit") or base.get("training")
    if PurePath(model).is_absolute():
        model = PurePath(model).name  # clients see the record: they need no folders of the machine that trained the model
    return f"{model}@{commit}" if commit else model


def _check_dataset(record: TrainingRecord, path: Path) -> None:
    if not path.is_file():
        return
    found = _sha256(path, _object(path, _read(path)), "sha256")
    if found != record.dataset_sha256:
        text = f"key 'sha256': found {found[:12]}…, and key 'dataset.sha256' of {TRAINING} beside it is {record.dataset_sha256[:12]}…"
        raise ConfigError(f"{path}: {text}: {_REMOVE}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _object(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a JSON object")
    return data


def _part(path: Path, data: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    if not isinstance(found, dict):
        raise _refused(path, key, found, "an object")
    return found


def _text(path: Path, data: Mapping[str, Any], key: str, where: str = "") -> str:
    found = data.get(key)
    if not isinstance(found, str) or not found:
        raise _refused(path, f"{where}{key}", found, "a text")
    return found


def _sha256(path: Path, data: Mapping[str, Any], key: str, where: str = "") -> str:
    found = data.get(key)
    if not isinstance(found, str) or not _SHA256.fullmatch(found):
        raise _refused(path, f"{where}{key}", found, "64 hexadecimal digits")
    return found


def _refused(path: Path, key: str, found: object, allowed: str) -> ConfigError:
    return ConfigError(f"{path}: key '{key}': {'missing' if found is None else f'found {found!r}'}, expected {allowed}")
