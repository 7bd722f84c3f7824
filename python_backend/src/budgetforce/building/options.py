# SPDX-License-Identifier: Apache-2.0
"""The options that say which engine, for every sub-command that needs to know."""

from __future__ import annotations

import argparse

from budgetforce.building.spec import PRESETS, TENSOR_PARALLEL, VARIANTS, EngineSpec

DEFAULT_PRESET = "s1-32b"
_FIELDS = ("model", "revision", "variant", "tp", "max_seq_len", "max_num_tokens", "max_batch_size")


def add_spec_options(parser: argparse.ArgumentParser) -> None:
    """Those that ``spec_of`` reads. What is left out is the preset's."""
    parser.add_argument("--preset", choices=preset_names(), default=DEFAULT_PRESET, help="what to build (default: %(default)s)")
    parser.add_argument("--model", help="hub id or folder of the weights, instead of the preset's")
    parser.add_argument("--revision", help="commit of the hub's repository, instead of the preset's")
    parser.add_argument("--variant", choices=VARIANTS, help="of the weights (default: bf16)")
    parser.add_argument("--tp", type=int, choices=TENSOR_PARALLEL, help="GPUs that share the model (default: 2)")
    parser.add_argument("--max-seq-len", type=int, metavar="TOKENS", help="prompt, thinking and answer together (default: 32768)")
    parser.add_argument("--max-num-tokens", type=int, metavar="TOKENS", help="of one engine step (default: 8192)")
    parser.add_argument("--max-batch-size", type=int, metavar="N", help="sequences that decode at once (default: 32)")


def preset_names() -> list[str]:
    """The shipped engine presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def spec_of(options: argparse.Namespace) -> EngineSpec:
    """The engine that the options name. Raises ConfigError for a value that is not allowed."""
    return EngineSpec.load(options.preset, **{name: getattr(options, name) for name in _FIELDS})
