# SPDX-License-Identifier: Apache-2.0
"""The options that describe an engine, shared by all sub-commands."""

from __future__ import annotations

import argparse

from budgetforce.building.spec import PRESETS, TENSOR_PARALLEL, VARIANTS, EngineSpec

DEFAULT_PRESET = "s1-32b"
_FIELDS = ("model", "revision", "variant", "tp", "max_seq_len", "max_num_tokens", "max_batch_size")


def add_spec_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``spec_of`` reads; the engine preset fills in those that are not given."""
    parser.add_argument(
        "--preset",
        choices=preset_names(),
        default=DEFAULT_PRESET,
        help="engine preset: the model and its build settings (default: %(default)s)",
    )
    parser.add_argument("--model", help="hub id or folder of the weights (default: the engine preset's)")
    parser.add_argument("--revision", help="commit of the hub's repository (default: the engine preset's)")
    parser.add_argument("--variant", choices=VARIANTS, help="precision of the weights (default: bf16)")
    parser.add_argument("--tp", type=int, choices=TENSOR_PARALLEL, help="GPUs that share the model (default: 2)")
    parser.add_argument(
        "--max-seq-len", type=int, metavar="TOKENS", help="longest sequence: prompt, thinking and answer together (default: 32768)"
    )
    parser.add_argument(
        "--max-num-tokens", type=int, metavar="TOKENS", help="tokens of one engine step, prefill and decode together (default: 8192)"
    )
    parser.add_argument("--max-batch-size", type=int, metavar="N", help="sequences that decode concurrently (default: 32)")


def preset_names() -> list[str]:
    """Return the names of the shipped engine presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def spec_of(options: argparse.Namespace) -> EngineSpec:
    """Build the engine spec from the options. Raises ConfigError for a value that is not allowed."""
    return EngineSpec.load(options.preset, **{name: getattr(options, name) for name in _FIELDS})
