# SPDX-License-Identifier: Apache-2.0
"""What the shipped model configs need to know, as the environment variables that they name."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from budgetforce.config import LOG_FORMATS, LOG_LEVELS, LOG_PROMPTS
from budgetforce.engine import model_files
from budgetforce.engine.model_checks import check_folder
from budgetforce.engine.token_engine import ModelLimits
from budgetforce.errors import ConfigError
from budgetforce.presets import Preset

LIBRARY_ENGINES = ("vllm_llm", "llmapi_llm")  # they load a Hugging Face folder as it is
ENGINES = ("embedded_llm", "tensorrt_llm", *LIBRARY_ENGINES)
ENGINE_HELP = (
    "which engine model to load (default: %(default)s, on a CPU). On GPUs: tensorrt_llm in images up to 26.07, vllm_llm after "
    "them; llmapi_llm needs an image of your own with TensorRT-LLM 1.3 (python_backend/ENGINES.md)"
)
LIBRARIES = ("auto", "openvino", "llamacpp")
MAX_REPLIES, MAX_WAITING = 256, 1024
MOST_REPLIES, MOST_WAITING = 2048, 1_000_000  # a rendered engine's queue holds the calls of twice as many replies


def add_library_options(parser: argparse.ArgumentParser) -> None:
    """What ``vllm_llm`` and ``llmapi_llm`` can be told."""
    parser.add_argument("--max-seq-len", type=int, help="vllm_llm, llmapi_llm: longest context (default: the model's own)")
    parser.add_argument("--tp", type=int, default=1, help="vllm_llm, llmapi_llm: GPUs that share the model (default: %(default)s)")
    parser.add_argument(
        "--memory-fraction",
        type=float,
        default=0.9,
        help="vllm_llm: of a GPU's memory, for everything; llmapi_llm: of what the weights leave (default: %(default)s)",
    )


def add_admission_options(parser: argparse.ArgumentParser) -> None:
    """How many requests ``s1`` takes at once; see ``OrchestratorConfig``."""
    parser.add_argument(
        "--max-replies",
        type=int,
        default=MAX_REPLIES,
        metavar="N",
        help="replies that run at once, each sample of a request being one; of 8 or more, one request alone gets at most 7/8 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=MAX_WAITING,
        metavar="N",
        help="requests that wait for room; further ones are refused (default: %(default)s)",
    )


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the log lines of model ``s1``, see ``OrchestratorConfig``."""
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="least level of s1's lines in the log. Each request leaves one line when it ends: at debug if its reply is complete, at "
        "info with INVALID_ARGUMENT, OVERLOADED or CANCELLED, at error with INTERNAL, at warning with another error (default: %(default)s)",
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
    """The variables for the engine that ``options`` choose; prepares the embedded model if it has to.

    Raises ConfigError for an engine folder, a model or a preset that cannot be used, or a number that is not allowed.
    """
    _check_admission_options(options)
    preset = Preset.load(options.preset) if options.preset else None
    if options.engine == "embedded_llm":
        show(f"preparing model {options.model}")
        files = model_files.prepare(options.model, options.cache.resolve())
        specific = {
            "S1_MODEL_DIR": str(files.weights.parent),
            "S1_TOKENIZER_DIR": str(files.tokenizer),
            "S1_EMBEDDED_LIBRARY": options.library,
        }
        limits = files.limits
        default_preset = "smollm2" if options.model == model_files.DEFAULT_SOURCE else "s1"
    elif options.engine in LIBRARY_ENGINES:
        limits = _library_limits(options)
        specific = _library_environment(options)
        default_preset = "s1"
    else:
        specific = {"S1_TOKENIZER_DIR": str(_required(options.tokenizer, "--tokenizer"))}
        limits = engine_limits(_required(options.engine_dir, "--engine-dir"))
        default_preset = "s1"
    if preset is not None:
        _check_fit(preset, Path(specific["S1_TOKENIZER_DIR"]))
    return {
        "S1_ENGINE_MODEL": options.engine,
        "S1_ENGINE_URL": f"127.0.0.1:{grpc_port}",
        "S1_PRESET": options.preset or default_preset,
        "S1_MAX_CONTEXT_TOKENS": str(limits.max_seq_len),
        "S1_VOCAB_ROWS": str(limits.vocab_size),
        "S1_MAX_REPLIES": str(options.max_replies),
        "S1_MAX_WAITING": str(options.max_waiting),
        "S1_LOG_LEVEL": options.log_level,
        "S1_LOG_FORMAT": options.log_format,
        "S1_LOG_PROMPTS": options.log_prompts,
        **specific,
    }


def _check_admission_options(options: argparse.Namespace) -> None:
    """Raise ConfigError before Triton starts for a number that model ``s1`` would refuse."""
    for name, least, most in (("max_replies", 1, MOST_REPLIES), ("max_waiting", 0, MOST_WAITING)):
        if not least <= getattr(options, name) <= most:
            raise ConfigError(f"--{name.replace('_', '-')}: got {getattr(options, name)}, allowed: {least} to {most}")


def _check_fit(preset: Preset, tokenizer: Path) -> None:
    """Raise ConfigError if a preset's terminators are no tokens of the model's."""
    from budgetforce.text.tokenizer import ChatTokenizer  # transformers takes seconds: only for a preset that was chosen

    preset.terminator_ids(ChatTokenizer.load(tokenizer))


def _library_limits(options: argparse.Namespace) -> ModelLimits:
    if not (Path(options.model) / "config.json").is_file():
        raise ConfigError(f"engine '{options.engine}' needs --model, a Hugging Face folder (got '{options.model}')")
    check_folder(Path(options.model))
    limits = model_files.hf_limits(Path(options.model))
    max_seq_len = options.max_seq_len or limits.max_seq_len
    if not 2 <= max_seq_len <= limits.max_seq_len:
        raise ConfigError(f"--max-seq-len: got {max_seq_len}, allowed: 2 to {limits.max_seq_len}, the model's own")
    return replace(limits, max_seq_len=max_seq_len)


def _library_environment(options: argparse.Namespace) -> dict[str, str]:
    folder = str(Path(options.model).resolve())
    return {
        "S1_MODEL_DIR": folder,
        "S1_TOKENIZER_DIR": str(options.tokenizer.resolve()) if options.tokenizer else folder,
        "S1_TENSOR_PARALLEL": str(options.tp),
        "S1_MEMORY_FRACTION": str(options.memory_fraction),
        "HF_HUB_OFFLINE": "1",  # the folder is all there is to load
    }


def engine_limits(engine_dir: Path) -> ModelLimits:
    """What a TensorRT-LLM engine's config.json says of its size. Raises ConfigError."""
    path = engine_dir / "config.json"
    try:
        config = json.loads(path.read_text())
        rows, length = config["pretrained_config"]["vocab_size"], config["build_config"]["max_seq_len"]
        return ModelLimits(vocab_size=int(rows), max_seq_len=int(length))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} does not name pretrained_config.vocab_size and build_config.max_seq_len: {error}") from error


def _required(value: Path | None, flag: str) -> Path:
    if value is None:
        raise ConfigError(f"engine 'tensorrt_llm' needs {flag}")
    return value.resolve()
