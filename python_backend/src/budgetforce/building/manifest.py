# SPDX-License-Identifier: Apache-2.0
"""The manifest of an engine, ``manifest.json`` beside it: its source, the machine that built it, and its files.

TensorRT-LLM reports an engine that does not suit a machine by an assertion about its serialisation; the manifest allows a
sentence: the value found, the value expected, and the fix. Driver and CUDA are only recorded: an engine does not
depend on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from budgetforce.building.machine import Machine
from budgetforce.building.spec import IMAGE, EngineSpec
from budgetforce.errors import ConfigError
from budgetforce.provenance import TrainingRecord, from_manifest, record_of
from budgetforce.text.tokenizer_files import TOKENIZER_FILES

NAME, FORMAT = "manifest.json", 1
BUILD_AGAIN = "build the engine again, inside the image and on these GPUs: python3 build/engine.py all --work WORK"
OTHER_IMAGE = f"run inside {IMAGE} (docker compose up)"
QUANTISATION = {"bf16": "", "fp8": "FP8", "int4-awq": "W4A16_AWQ"}  # TensorRT-LLM's QuantAlgo
# Keys of the same values in the engine's own config.json (EngineConfig.to_dict in tensorrt_llm/builder.py @008b2b8).
CONFIG_KEYS = {
    "tensorrt_llm": ("version",),
    "tp": ("pretrained_config", "mapping", "tp_size"),
    "dtype": ("pretrained_config", "dtype"),
    "quantisation": ("pretrained_config", "quantization", "quant_algo"),
    "vocab_size": ("pretrained_config", "vocab_size"),
    "max_seq_len": ("build_config", "max_seq_len"),
    "max_num_tokens": ("build_config", "max_num_tokens"),
    "max_batch_size": ("build_config", "max_batch_size"),
    "tokens_per_block": ("build_config", "plugin_config", "tokens_per_block"),
    "use_paged_context_fmha": ("build_config", "plugin_config", "use_paged_context_fmha"),
    "gemm_plugin": ("build_config", "plugin_config", "gemm_plugin"),
}
_NULLABLE = ("quantisation", "gemm_plugin")  # null in config.json if they are off, "" in the manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFile:
    """The engine file of one rank."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Record of how an engine was built.

    Attributes:
        preset: the model preset.
        gpu: name of the GPUs that it was built on, by nvidia-smi; ``sm`` is their compute capability.
        quantisation: TensorRT-LLM's name of the method, "" = none.
        kv_token_bytes: size of a token in one GPU's KV cache, which is bf16.
        gemm_plugin: data type of the plugin, "" = off.
        terminator_ids: terminators of the model preset's thinking and answer.
        files: engine files in the order of ranks.
        training: how the model was trained; None if it has no record.
    """

    budgetforce: str
    model: str
    revision: str
    preset: str
    variant: str
    tensorrt_llm: str
    tensorrt: str
    cuda: str
    driver: str
    gpu: str
    sm: str
    tp: int
    dtype: str
    quantisation: str
    vocab_size: int
    kv_token_bytes: int
    max_seq_len: int
    max_num_tokens: int
    max_batch_size: int
    tokens_per_block: int
    use_paged_context_fmha: bool
    gemm_plugin: str
    tokenizer_sha256: str
    terminator_ids: tuple[int, ...]
    files: tuple[EngineFile, ...]
    training: TrainingRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A difference from the manifest.

    Attributes:
        subject: the thing that differs, as text.
        fatal: whether it makes the engine unusable.
    """

    subject: str
    found: object
    expected: object
    fix: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.subject}: found {self.found}, expected {self.expected}"


def describe(spec: EngineSpec, engine_dir: Path, tokenizer_dir: Path, machine: Machine) -> Manifest:
    """Make the manifest of an engine that was just built here; reads all its files. Raises ConfigError if it differs from ``spec``."""
    made = Manifest(
        budgetforce=metadata.version("budgetforce"),
        **{name: getattr(spec, name) for name in ("model", "revision", "preset", "variant")},
        **{name: getattr(machine, name) for name in ("tensorrt", "cuda", "driver")},
        gpu=machine.gpus[0].name if machine.gpus else "",
        sm=machine.gpus[0].sm if machine.gpus else "",
        **_config_values(engine_dir),
        kv_token_bytes=_kv_token_bytes(engine_dir),
        tokenizer_sha256=tokenizer_sha256(tokenizer_dir),
        terminator_ids=_terminator_ids(spec.preset, tokenizer_dir),
        files=tuple(_engine_file(engine_dir / f"rank{rank}.engine") for rank in range(spec.tp)),
        training=record_of(tokenizer_dir),
    )
    for mismatch in against_spec(made, spec):
        raise ConfigError(f"{engine_dir} differs from the requested engine: {mismatch}")
    return made


def write(manifest: Manifest, engine_dir: Path) -> Path:
    """Write the manifest beside the engine, completely or not at all."""
    path = engine_dir / NAME
    scratch = path.with_name(f".{NAME}.new")
    scratch.write_text(json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1) + "\n")
    return scratch.replace(path)


def read(engine_dir: Path) -> Manifest:
    """Read an engine's manifest. Raises ConfigError if it is missing or has another format."""
    path = engine_dir / NAME
    try:
        values = json.loads(path.read_text())
        training = values.pop("training", None)  # the first manifests had no such key
        if values.pop("format") != FORMAT or {*values, "training"} != {field.name for field in fields(Manifest)}:
            raise ConfigError(f"{path} was written by another version of budgetforce: {BUILD_AGAIN}")
        files = tuple(EngineFile(**file) for file in values.pop("files"))
        record = None if training is None else from_manifest(path, training)
        return Manifest(**{**values, "terminator_ids": tuple(values["terminator_ids"]), "files": files, "training": record})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): {BUILD_AGAIN}") from None


def summary(manifest: Manifest) -> str:
    """Return the manifest as one readable line, which ``s1 doctor`` shows."""
    revision = f" @{manifest.revision[:12]}" if manifest.revision else ""
    return (
        f"{manifest.model}{revision}, {manifest.variant}, TP {manifest.tp}, {manifest.max_seq_len} tokens; "
        f"TensorRT-LLM {manifest.tensorrt_llm}, TensorRT {manifest.tensorrt or '(unknown)'}, {manifest.gpu} (SM {manifest.sm}); "
        f"engine {manifest.files[0].sha256[:12]}, tokenizer {manifest.tokenizer_sha256[:12]}, budgetforce {manifest.budgetforce}"
        f"{f', training {manifest.training.id}' if manifest.training else ''}"
    )


def tokenizer_sha256(folder: Path) -> str:
    """Hash all files of a tokenizer, with their names. Raises ConfigError if the folder holds none."""
    found = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not found:
        raise ConfigError(f"{folder} holds no tokenizer")
    digest = hashlib.sha256()
    for path in found:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def against_machine(manifest: Manifest, machine: Machine) -> Iterator[Mismatch]:
    """Yield differences from the machine that built the engine: TensorRT-LLM, TensorRT and the GPUs' architecture must be the same."""
    for name, title in (("tensorrt_llm", "TensorRT-LLM"), ("tensorrt", "TensorRT")):
        found, expected = (getattr(source, name).partition("+")[0] for source in (machine, manifest))
        if found and found != expected:
            yield Mismatch(subject=title, found=found, expected=f"{expected}, which built the engine", fix=OTHER_IMAGE)
    for gpu in machine.gpus[: manifest.tp]:
        if gpu.sm != manifest.sm:
            yield Mismatch(subject=f"GPU {gpu.index}", found=f"{gpu.name} (SM {gpu.sm})", expected=f"SM {manifest.sm}", fix=BUILD_AGAIN)
        elif gpu.name != manifest.gpu:
            yield Mismatch(
                subject=f"GPU {gpu.index}", found=gpu.name, expected=f"{manifest.gpu}, for which it was tuned", fix=BUILD_AGAIN, fatal=False
            )


def against_config(manifest: Manifest, engine_dir: Path) -> Iterator[Mismatch]:
    """Yield differences from the engine's own config.json. Raises ConfigError if it cannot be read."""
    for name, found in _config_values(engine_dir).items():
        if found != getattr(manifest, name):
            yield Mismatch(
                subject=f"config.json: {'.'.join(CONFIG_KEYS[name])}",
                found=repr(found),
                expected=repr(getattr(manifest, name)),
                fix=BUILD_AGAIN,
            )


def against_files(manifest: Manifest, engine_dir: Path, hashes: bool = False) -> Iterator[Mismatch]:
    """Yield files of ranks that are missing or of another size; with ``hashes``, or of other content (reads everything, minutes)."""
    for file in manifest.files:
        path = engine_dir / file.name
        if not path.is_file():
            yield Mismatch(subject=file.name, found="no file", expected=f"{file.size_bytes:,} bytes", fix=BUILD_AGAIN)
        elif path.stat().st_size != file.size_bytes:
            yield Mismatch(subject=file.name, found=f"{path.stat().st_size:,} bytes", expected=f"{file.size_bytes:,}", fix=BUILD_AGAIN)
        elif hashes and (found := _engine_file(path).sha256) != file.sha256:
            yield Mismatch(subject=f"{file.name}: sha256", found=found, expected=file.sha256, fix=BUILD_AGAIN)


def against_tokenizer(manifest: Manifest, folder: Path) -> Iterator[Mismatch]:
    """Yield a mismatch if the tokenizer differs. Raises ConfigError if the folder holds none."""
    found = tokenizer_sha256(folder)
    if found != manifest.tokenizer_sha256:
        fix = f"set --tokenizer to that of {manifest.model}, with which the engine was built: WORK/tokenizer of build/engine.py"
        yield Mismatch(subject="tokenizer: sha256", found=found[:12], expected=manifest.tokenizer_sha256[:12], fix=fix)


def against_record(manifest: Manifest, tokenizer_dir: Path) -> Iterator[Mismatch]:
    """Yield a mismatch if the training record beside the tokenizer is another. Raises ConfigError if it is broken."""
    found = record_of(tokenizer_dir)
    if found != manifest.training:
        yield Mismatch(subject="training", found=found or "no record", expected=manifest.training or "no record", fix=BUILD_AGAIN)


def against_spec(manifest: Manifest, spec: EngineSpec) -> Iterator[Mismatch]:
    """Yield differences from the requested engine, and from the settings with which a continuation finds its prefix in the KV cache."""
    names = ("tp", "max_seq_len", "max_num_tokens", "max_batch_size", "tokens_per_block")
    requested: Mapping[str, object] = {name: getattr(spec, name) for name in names}
    requested = {**requested, "quantisation": QUANTISATION[spec.variant], "use_paged_context_fmha": True}
    for name, expected in requested.items():
        if getattr(manifest, name) != expected:
            yield Mismatch(subject=name, found=repr(getattr(manifest, name)), expected=repr(expected), fix=BUILD_AGAIN)


def _terminator_ids(preset: str, tokenizer_dir: Path) -> tuple[int, ...]:
    from budgetforce.presets import Preset  # imports transformers, which takes seconds; only a build needs it
    from budgetforce.text.tokenizer import ChatTokenizer

    thinking, answer = Preset.load(preset).terminator_ids(ChatTokenizer.load(tokenizer_dir).encode_marker)
    return tuple(sorted(thinking | answer))


def _config_values(engine_dir: Path) -> dict[str, Any]:
    config = _config(engine_dir)
    values = {name: _at(config, engine_dir, *keys) for name, keys in CONFIG_KEYS.items()}
    return {name: value or "" if name in _NULLABLE else value for name, value in values.items()}


def _kv_token_bytes(engine_dir: Path) -> int:
    config, names = _config(engine_dir), ("num_hidden_layers", "num_key_value_heads", "hidden_size", "num_attention_heads")
    layers, kv_heads, hidden, heads = (int(_at(config, engine_dir, "pretrained_config", name)) for name in names)
    return 2 * 2 * layers * (kv_heads // int(_at(config, engine_dir, *CONFIG_KEYS["tp"]))) * (hidden // heads)


def _config(engine_dir: Path) -> Any:
    path = engine_dir / "config.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): {BUILD_AGAIN}") from None


def _at(config: Any, engine_dir: Path, *keys: str) -> Any:
    try:
        for key in keys:
            config = config[key]
    except (KeyError, TypeError):
        raise ConfigError(f"{engine_dir / 'config.json'} does not say {'.'.join(keys)}: {BUILD_AGAIN}") from None
    return config


def _engine_file(path: Path) -> EngineFile:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): {BUILD_AGAIN}") from None
    return EngineFile(name=path.name, size_bytes=path.stat().st_size, sha256=digest)
