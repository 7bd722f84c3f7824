# SPDX-License-Identifier: Apache-2.0
"""Prepares a model, from any source, as the files that the embedded engine and the tokenizer read.

Sources:

* ``s1-tiny`` and ``smollm2``: models that come in Python packages (``packaged_models``);
* a GGUF file (architectures llama, qwen2, qwen3; any quantisation that the gguf package reads);
* a Hugging Face folder (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM);
* a hub id ("owner/name"), downloaded first.

The result is a folder: ``model.gguf`` (matrices in Q8_0, the only quantisation that OpenVINO
reads both accurately and fast), ``tokenizer/`` (a Hugging Face tokenizer) and ``model.json``.
The folder is written under another name and then renamed, so an existing folder is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from budgetforce.engine import packaged_models
from budgetforce.engine.model_checks import check_folder, check_gguf, read_json
from budgetforce.engine.token_engine import ModelLimits
from budgetforce.errors import ConfigError
from budgetforce.provenance import check_weights, copy_record
from budgetforce.text.tokenizer_files import PREPARED_TOKENIZER_FILES

DEFAULT_SOURCE = packaged_models.S1_TINY
_ALLOWED = "'s1-tiny', 'smollm2', a GGUF file, a folder with config.json, or a hub id like owner/name"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(?<!\.gguf)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A prepared model. ``weights`` is a GGUF file, ``tokenizer`` a folder."""

    weights: Path
    tokenizer: Path
    limits: ModelLimits

    @classmethod
    def open(cls, folder: Path) -> ModelFiles:
        """Return the prepared model in ``folder``. Raises ConfigError if it holds none."""
        try:
            limits = ModelLimits(**json.loads((folder / "model.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{folder} holds no prepared model: {error}") from error
        return cls(weights=folder / "model.gguf", tokenizer=folder / "tokenizer", limits=limits)


def prepare(source: str, cache: Path) -> ModelFiles:
    """Return the model files of ``source`` in the folder ``cache``; create them if they do not exist.

    Raises ConfigError for a source that cannot be read or a model that cannot be served.
    """
    folder = cache / _folder_name(source)
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".making-") as making:
            _make(source, Path(making))
            _put(Path(making), folder)
    return ModelFiles.open(folder)


def _put(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process created it first
            raise


def hf_limits(folder: Path) -> ModelLimits:
    """Return the limits in a Hugging Face folder's config.json. Raises ConfigError if they cannot be read."""
    path = folder / "config.json"
    config = read_json(path)
    try:
        return ModelLimits(vocab_size=int(config["vocab_size"]), max_seq_len=int(config["max_position_embeddings"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not name vocab_size and max_position_embeddings: {error}") from error


def _folder_name(source: str) -> str:
    """Return a name that changes with the model's files: a checkpoint that was trained further is prepared anew."""
    if packaged_models.is_packaged(source):
        return packaged_models.prepared_name(source)
    path = Path(source)
    if not path.exists():
        return source.replace("/", "--")
    path = path.resolve()
    files = [path, *sorted(file for file in path.iterdir() if file.exists())] if path.is_dir() else [path]  # without dangling links
    stamp = "".join(f"{file}:{(found := file.stat()).st_size}:{found.st_mtime_ns}" for file in files)
    return f"{path.stem}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"


def _make(source: str, out: Path) -> None:
    path = _locate(source)
    try:
        _convert(path, out)
    except ConfigError as error:
        raise ConfigError(f"model '{source}': {error.args[0]}") from error
    except OSError as error:
        raise ConfigError(f"model '{source}': {error}") from error
    except Exception as error:  # the readers raise any exception for a broken file
        raise ConfigError(f"model '{source}': {path} is broken or of an unexpected form ({type(error).__name__}: {error})") from error


def _convert(path: Path, out: Path) -> None:
    if path.is_dir():
        check_folder(path, ["*.safetensors"])
        check_weights(path)
    else:
        check_gguf(path)
    from budgetforce.engine import gguf_files  # the import takes seconds, so it comes after the checks

    if path.is_dir():
        limits = gguf_files.from_hf_folder(path, out / "model.gguf")
        _copy_tokenizer(path, out / "tokenizer")
        copy_record(path, out)
    else:
        limits = gguf_files.requantise(path, out / "model.gguf")
        gguf_files.extract_tokenizer(path, out / "tokenizer")
    (out / "model.json").write_text(json.dumps(asdict(limits)))


def _locate(source: str) -> Path:
    if packaged_models.is_packaged(source):
        return packaged_models.locate(source)
    path = Path(source)
    if path.is_file() or (path / "config.json").is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"model '{source}': the folder holds no model: {_instead(path)}")
    if _HUB_ID.fullmatch(source) and not path.exists():
        return _download(source)
    raise ConfigError(f"model '{source}': no such file or folder; allowed: {_ALLOWED}")


def _instead(folder: Path) -> str:
    ggufs = [path.name for path in sorted(folder.glob("*.gguf"))]
    return f"name a file in it, as {folder / ggufs[0]}" if ggufs else "it has no config.json, and no GGUF file"


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.gguf", "*.jinja", "*.txt"]
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=patterns))
    except Exception as error:  # the hub client's errors have no common base
        raise ConfigError(f"model '{hub_id}' is not a local folder and cannot be downloaded: {str(error).splitlines()[0]}") from error
    ggufs = sorted(folder.glob("*.gguf"))
    return folder if (folder / "config.json").is_file() or not ggufs else ggufs[0]


def _copy_tokenizer(folder: Path, out: Path) -> None:
    out.mkdir()
    for name in PREPARED_TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copy(folder / name, out / name)
    if not (out / "tokenizer.json").is_file():
        raise ConfigError(f"{folder} has no tokenizer.json")
