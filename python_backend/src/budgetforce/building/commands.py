# SPDX-License-Identifier: Apache-2.0
"""Build the command lines of TensorRT-LLM's tools, and check each flag against those of the pinned version."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from budgetforce.building.spec import EngineSpec
from budgetforce.errors import ConfigError

FLAGS = Path(__file__).with_name("flags.json")
WEIGHTS_DTYPE = "bfloat16"  # of tensors that are not quantised
GEMM_PLUGIN = {"bf16": WEIGHTS_DTYPE, "fp8": "disable", "int4-awq": WEIGHTS_DTYPE}
# quantize.py always takes 32 samples for AWQ (quantize_by_modelopt.py @042c510).
QUANTISATION = {
    "fp8": {"--qformat": "fp8", "--calib_size": 512},
    "int4-awq": {"--qformat": "int4_awq", "--awq_block_size": 128, "--calib_size": 32},
}
# Words anywhere in the model's path that make quantize.py mistake it for another model (quantize_by_modelopt.py @042c510).
MISLEADING = ("mpt", "vila", "llava-onevision-qwen2")
CALIBRATION = "cnn_dailymail"
CALIBRATION_NAMES = (CALIBRATION, "pileval")
# Words anywhere in a folder's path, in upper or lower case, that make quantize.py mistake it for a data set of the hub (same file).
MISLEADING_DATA = (CALIBRATION, "scienceqa", "science_qa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The places of TensorRT-LLM's tools in the image, and the data for calibration.

    Attributes:
        python: the interpreter that has tensorrt_llm installed.
        examples: the folder that contains convert_checkpoint.py and quantize.py.
        calibration: the data set for quantising: a name that quantize.py knows, or a folder with a "text" column.
    """

    python: str = sys.executable
    examples: Path = Path("/app/examples")
    trtllm_build: str = "trtllm-build"
    calibration: str = CALIBRATION


def convert_command(spec: EngineSpec, tools: Tools, model: Path, out: Path) -> list[str]:
    """Return the command that converts Hugging Face weights to a checkpoint of ``tp`` ranks.

    Raises ConfigError for a path that quantize.py would misread.
    """
    options: dict[str, object] = {"--model_dir": model, "--output_dir": out, "--dtype": WEIGHTS_DTYPE, "--tp_size": spec.tp}
    if spec.variant == "bf16":
        script = tools.examples / "models/core/qwen/convert_checkpoint.py"
        return _command([tools.python, str(script)], script.name, options | {"--workers": spec.tp})
    misleading = [word for word in MISLEADING if word in str(model)]
    if misleading:
        raise ConfigError(f"quantize.py takes {model} for another model, because its path contains {misleading[0]!r}: move or rename it")
    check_calibration(tools.calibration)
    script = tools.examples / "quantization/quantize.py"
    options |= {**QUANTISATION[spec.variant], "--calib_dataset": tools.calibration}
    return _command([tools.python, str(script)], script.name, options)


def check_calibration(name: str) -> None:
    """Raise ConfigError for a folder that quantize.py would mistake for a data set of the hub, or a name that it does not know."""
    if not Path(name).is_absolute():
        if name not in CALIBRATION_NAMES and not name.endswith(f"/{CALIBRATION}"):
            raise ConfigError(f"calibration: got {name!r}, allowed: {', '.join(CALIBRATION_NAMES)}, or an existing folder of texts")
        return
    misleading = [word for word in MISLEADING_DATA if word in name.lower()]
    if misleading:
        raise ConfigError(
            f"quantize.py takes {name} for a data set of the hub, because its path contains {misleading[0]!r}: move or rename the folder"
        )


def build_command(spec: EngineSpec, tools: Tools, checkpoint: Path, out: Path, timing_cache: Path) -> list[str]:
    """Return the command that builds ``tp`` engine files from a checkpoint.

    KV reuse and chunked prefill need paged context FMHA. With it, FP8 context FMHA works only with an FP8 KV cache, which
    degrades Qwen2.5; trtllm-build would switch it off itself (tensorrt_llm/builder.py @008b2b8).
    """
    options = {
        "--checkpoint_dir": checkpoint,
        "--output_dir": out,
        "--output_timing_cache": timing_cache,  # by default in the working folder of the tool
        "--gemm_plugin": GEMM_PLUGIN[spec.variant],
        "--kv_cache_type": "paged",
        "--tokens_per_block": spec.tokens_per_block,
        "--use_paged_context_fmha": "enable",
        "--use_fp8_context_fmha": "disable",
        "--multiple_profiles": "enable",
        "--max_batch_size": spec.max_batch_size,
        "--max_seq_len": spec.max_seq_len,
        "--max_num_tokens": spec.max_num_tokens,
        "--max_beam_width": 1,
        "--workers": spec.tp,
    }
    return _command([tools.trtllm_build], "trtllm-build", options)


def _command(program: list[str], tool: str, options: Mapping[str, object]) -> list[str]:
    for flag, value in options.items():
        check_flag(tool, flag, str(value))
    return [*program, *(str(part) for pair in options.items() for part in pair)]


def check_flag(tool: str, flag: str, value: str) -> None:
    """Raise ConfigError for a flag that the pinned version of a tool does not have, or a value that it would reject."""
    flags = _flags()[tool]["flags"]
    if flag not in flags:
        raise ConfigError(f"{tool} has no {flag}; known: {', '.join(flags)}")
    allowed = flags[flag]
    fits = value in allowed if isinstance(allowed, list) else _KINDS[allowed](value)
    if not fits:
        raise ConfigError(f"{tool} {flag}: got {value!r}, allowed: {', '.join(allowed) if isinstance(allowed, list) else allowed}")


_KINDS: dict[str, Callable[[str], bool]] = {
    "path": lambda value: Path(value).is_absolute(),  # the tools run in another folder
    "name": bool,
    "count": lambda value: value.isdecimal() and int(value) >= 1,
}


@cache
def _flags() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(FLAGS.read_text())
    return data
