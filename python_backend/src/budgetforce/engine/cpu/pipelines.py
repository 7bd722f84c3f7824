# SPDX-License-Identifier: Apache-2.0
"""Selects the library that computes for the embedded engine.

OpenVINO is two to four times as fast with many streams, but untested on CPUs without AVX512;
llama.cpp runs on any CPU with AVX2. A library counts as running once it has sampled an id.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from budgetforce.config import EmbeddedConfig
from budgetforce.engine.cpu.embedded import TokenPipeline
from budgetforce.engine.token_engine import TokenCall
from budgetforce.errors import ConfigError

_PROBE = 1 << 62  # a key that no call has


def build_pipeline(weights: Path, config: EmbeddedConfig, log: Callable[[str], None]) -> TokenPipeline:
    """Build the pipeline of ``config.library``; "auto" falls back to llama.cpp and logs why.

    Raises ConfigError if no allowed library runs on this machine.
    """
    builders: dict[str, Callable[[Path, EmbeddedConfig], TokenPipeline]] = {"openvino": _openvino, "llamacpp": _llamacpp}
    if config.library not in ("auto", *builders):
        raise ConfigError(f"parameter 'library': got '{config.library}', allowed: auto, {', '.join(builders)}")
    errors = []
    for name, build in builders.items():
        if config.library not in ("auto", name):
            continue
        try:
            pipeline = _checked(build(weights, config))
        except (RuntimeError, ImportError, IndexError) as error:  # IndexError: OpenVINO's map::at, on a file that it cannot read
            errors.append(f"{name}: {str(error).splitlines()[0]}")
            log(f"embedded_llm: {name} does not run here: {error}")
            continue
        log(f"embedded_llm: computed by {name}")
        return pipeline
    raise ConfigError(f"no engine library runs here ({'; '.join(errors)})")


def _openvino(weights: Path, config: EmbeddedConfig) -> TokenPipeline:
    from budgetforce.engine.cpu.openvino_pipeline import OpenVinoPipeline

    return OpenVinoPipeline(weights, num_kv_blocks=config.num_kv_blocks, precision=config.precision)


def _llamacpp(weights: Path, config: EmbeddedConfig) -> TokenPipeline:
    from budgetforce.engine.cpu.llamacpp_pipeline import BLOCK_SIZE, LlamaCppPipeline

    return LlamaCppPipeline(weights, num_kv_tokens=config.num_kv_blocks * BLOCK_SIZE)


def _checked(pipeline: TokenPipeline) -> TokenPipeline:
    """Return the pipeline after its first id: on some CPUs it fails only there. Raises RuntimeError."""
    pipeline.add(_PROBE, TokenCall(input_ids=(0,), max_new_tokens=1))
    while not pipeline.step():
        pass
    pipeline.drop(_PROBE)
    return pipeline
