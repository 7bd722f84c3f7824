# SPDX-License-Identifier: Apache-2.0
"""Find and download a model's weights (a folder, or a hub repository at one commit), and check that they are complete."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetforce.building.spec import EngineSpec, ModelShape
from budgetforce.building.stage import BuildFailed, Result
from budgetforce.errors import ConfigError
from budgetforce.provenance import copy_record
from budgetforce.text.tokenizer_files import TOKENIZER_FILES

DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.jinja")
CONFIG_FILES = ("config.json", "generation_config.json")  # of the model, which a tokenizer's folder needs as well
RECORD = "revision.json"
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One version of a model's files.

    Attributes:
        model: hub id, or the folder.
        commit: commit of the hub's repository; "" for a folder.
        files: sizes and times of a folder's files, so that changed files are another source; None for the hub.
    """

    model: str
    commit: str = ""
    files: Mapping[str, Any] | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """The source as JSON values, for the stamps of steps."""
        return {"model": self.model, "commit": self.commit, "files": self.files}


def is_folder(model: str) -> bool:
    """Whether ``model`` is a folder rather than a hub id. Raises ConfigError if it is neither."""
    if Path(model).is_dir():
        return True
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return False
    raise ConfigError(f"model {model!r}: neither a folder nor a hub id like owner/name")


def find_source(spec: EngineSpec, work: Path) -> Source:
    """Return the source that a spec names. A branch is resolved once; the work folder keeps its commit for later runs.

    Raises BuildFailed if the hub does not answer, ConfigError for a folder without a supported model.
    """
    if is_folder(spec.model):
        folder = Path(spec.model).resolve()
        check_weights(folder)
        files = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(folder.iterdir()) if path.is_file()}
        return Source(model=str(folder), files=files)
    if COMMIT.fullmatch(spec.revision):
        return Source(model=spec.model, commit=spec.revision)
    return Source(model=spec.model, commit=_resolved_once(spec, work / RECORD))


def _resolved_once(spec: EngineSpec, record: Path) -> str:
    request = {"model": spec.model, "revision": spec.revision}
    if record.is_file() and (known := json.loads(record.read_text())).get("request") == request:
        return str(known["commit"])
    commit = str(_hub_info(spec.model, spec.revision or None).sha)
    scratch = record.with_suffix(".new")
    scratch.write_text(json.dumps({"request": request, "commit": commit}))
    scratch.replace(record)
    return commit


def read_model(source: Source) -> tuple[ModelShape, int]:
    """Return a model's shape and the bytes per parameter in its files; from the hub only config.json is downloaded.

    Raises BuildFailed if the hub does not answer, ConfigError for another architecture.
    """
    if source.files is not None:
        return _model_in(Path(source.model))
    from huggingface_hub import hf_hub_download

    with tempfile.TemporaryDirectory() as scratch:
        try:
            hf_hub_download(source.model, "config.json", revision=source.commit, local_dir=scratch)
        except Exception as error:  # the hub client's errors have no common base class
            raise _failed(source.model, error) from error
        return _model_in(Path(scratch))


def _model_in(folder: Path) -> tuple[ModelShape, int]:
    return ModelShape.read(folder), ModelShape.stored_bytes(folder)


def download(source: Source, result: Result) -> None:
    """Download the missing files of ``source`` and check every weights file against the hub's SHA-256.

    A file with another hash is removed, so that the next run downloads it again. Raises BuildFailed.
    """
    from huggingface_hub import snapshot_download

    info = _hub_info(source.model, source.commit)
    sums = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs and file.rfilename.endswith(".safetensors")}
    need = sum(file.size or 0 for file in info.siblings or [] if any(Path(file.rfilename).match(pattern) for pattern in DOWNLOADED))
    check_disk("download", result.folder, need - _size_of(result.folder))
    try:
        snapshot_download(source.model, revision=source.commit, local_dir=result.folder, allow_patterns=list(DOWNLOADED))
    except Exception as error:  # the hub client's errors have no common base class
        raise _failed(source.model, error) from error
    _check_sums(result.folder, sums)
    shutil.rmtree(result.folder / ".cache", ignore_errors=True)  # the hub client's bookkeeping
    check_weights(result.folder)
    result.found.update(commit=source.commit, sha256=sums)


def _hub_info(model: str, revision: str | None) -> Any:
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(model, revision=revision, files_metadata=True)
    except Exception as error:  # the hub client's errors have no common base class
        raise _failed(model, error) from error


def _failed(model: str, error: Exception) -> BuildFailed:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    advice = "downloaded files are kept: run it again, or download elsewhere and set --model to the folder"
    return BuildFailed(f"{model}: download from the hub failed: {reason}\n{advice}")


def _check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    wrong = []
    for name, expected in sorted(sums.items()):
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                wrong.append(name)
    for name in wrong:
        (folder / name).unlink()
    if wrong:
        raise BuildFailed(f"{', '.join(wrong)}: SHA-256 differs from the hub's; removed, run it again")


def check_weights(folder: Path) -> None:
    """Check that a folder holds all weights of a supported model, each file as long as its header says.

    Raises ConfigError.
    """
    ModelShape.read(folder)
    for path in weights_files(folder):
        try:
            length = _length_by_header(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is not a safetensors file: {error}") from None
        if path.stat().st_size != length:
            raise ConfigError(f"{path} has {path.stat().st_size} bytes, its header says {length}: download it again")


def _length_by_header(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(file.read(size))
    return 8 + size + max(int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__")


def weights_files(folder: Path) -> list[Path]:
    """Return the files that the index names, or the only one. Raises ConfigError if one is missing."""
    index = folder / INDEX
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{index} cannot be read: {error}") from None
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder} has no {', '.join(missing)}")
    return [folder / name for name in names]


def copy_tokenizer(model: Path, result: Result) -> None:
    """Copy only the tokenizer's files and the training record, for a server without weights.

    Raises ConfigError if there is no tokenizer, or if the record is broken.
    """
    for name in (*TOKENIZER_FILES, *CONFIG_FILES):
        if (model / name).is_file():
            shutil.copy(model / name, result.folder / name)
    if not (result.folder / "tokenizer.json").is_file():
        raise ConfigError(f"{model} has no tokenizer.json")
    copy_record(model, result.folder)


def check_disk(stage: str, folder: Path, need: int) -> None:
    """Check that the disk has room for the output of a step. Raises BuildFailed."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if need > free:
        sizes = f"needs {need / 1e9:.1f} GB of disk, {place} has {free / 1e9:.1f} GB free"
        raise BuildFailed(f"stage {stage} {sizes}: free some space, or choose --work on another disk")


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
