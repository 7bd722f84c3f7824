# SPDX-License-Identifier: Apache-2.0
"""Sub-command ``plan``: compute the needs of an engine before anything is downloaded; if it does not fit, say why and suggest changes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from budgetforce.building import planner, throughput
from budgetforce.building.gpus import GB, GIB, parse_gpus
from budgetforce.building.options import DEFAULT_PRESET, add_spec_options, preset_names, spec_of
from budgetforce.building.planner import ACHIEVED, SEQ_LEN_STEP, TYPICAL_TOKENS, Decode, EnginePlan
from budgetforce.building.spec import QWEN2_5_32B, TENSOR_PARALLEL, EngineSpec, ModelShape
from budgetforce.errors import ConfigError
from budgetforce.provenance import record_of

DECODES = ((1, 0), (16, 8192), (32, 8192), (8, 32768))  # numbers of sequences, and tokens of context of each
# Settings of docker-compose.yml for fields of an engine spec.
COMPOSE = {
    "model": "S1_MODEL",
    "revision": "S1_REVISION",
    "variant": "S1_VARIANT",
    "tp": "S1_GPUS",
    "max_seq_len": "S1_MAX_SEQ_LEN",
    "max_num_tokens": "S1_MAX_NUM_TOKENS",
    "max_batch_size": "S1_MAX_BATCH_SIZE",
}
IMAGE_GB = 14.2  # compressed size of spec.IMAGE in its registry
NOT_MEASURED = "Sizes are computed; times, host memory and the GPU's overhead are estimates. Nothing here was measured."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add sub-command ``plan`` to a command line."""
    text = "compute the memory, disk and time that an engine needs, before anything is downloaded"
    parser = subparsers.add_parser("plan", help=text, description=f"plan: {text}. If it does not fit: why, and what does.")
    parser.add_argument(
        "--gpus",
        required=True,
        metavar="GPUS",
        help="number and kind of GPUs: 2xH100, 4xA100-40GB, or by memory 2x80GB; --tp defaults to their number",
    )
    add_spec_options(parser)
    parser.add_argument("--config", type=Path, metavar="PATH", help="the model's config.json, if its shape is not s1-32B's")
    text = "run.json of `s1 loadtest` on such an engine: print its replies an hour beside the estimates"
    parser.add_argument("--measured", type=Path, metavar="PATH", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object with all figures, sizes in bytes")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    num_gpus, made = plan_from_options(options)
    levels = throughput.read_levels(options.measured) if options.measured else []
    if options.json:
        print(json.dumps(as_json(made, num_gpus) | {"measured": [asdict(level) for level in levels]}, indent=2))
    else:
        print("\n".join(table(made, num_gpus)))
        if options.measured:
            budgets = [rate.budget_tokens for rate in throughput.reply_rates(made)] or list(throughput.BUDGETS)
            print("\n".join(throughput.measured_lines(options.measured, levels, budgets)))
        text = "\n".join(_next_steps(options, made.spec)) if made.fits else refusal(made)
        print(f"\n{text}", file=sys.stdout if made.fits else sys.stderr)
    return 0 if made.fits else 1


def _next_steps(options: argparse.Namespace, spec: EngineSpec) -> Iterator[str]:
    """Yield the command that builds and serves the engine by Compose, and the command that only builds it."""
    preset, before = options.preset, EngineSpec.load(options.preset)
    if options.config and not options.model:
        spec = replace(spec, model="MODEL")  # a config does not name its model
    changed = {name: value for name, value in asdict(spec).items() if value != getattr(before, name)}
    settings = [] if preset == DEFAULT_PRESET else [f"S1_ENGINE_PRESET={preset}"]
    settings += [f"{COMPOSE[name]}={value}" for name, value in changed.items()]
    flags = ["--work WORK", *([] if preset == DEFAULT_PRESET else [f"--preset {preset}"]), *_flags(before, spec)]
    if not Path(spec.model).is_dir():  # for Compose a folder would have to be inside S1_WORK
        yield f"Build and serve it: {' '.join([*settings, 'docker compose up'])}"
    yield f"Build it inside the image: python3 build/engine.py all {' '.join(flags)}"


def plan_from_options(options: argparse.Namespace) -> tuple[int, EnginePlan]:
    """Return the number of GPUs and the plan, which uses all of them unless ``--tp`` is given. Raises ConfigError."""
    num_gpus, gpu = parse_gpus(options.gpus)
    if options.tp is None and num_gpus in TENSOR_PARALLEL:
        options.tp = num_gpus
    spec = spec_of(options)
    if spec.tp > num_gpus:
        raise ConfigError(f"tp: got {spec.tp}, allowed: up to {num_gpus}, the GPUs that --gpus names")
    shape, stored_bytes = _model(spec.model, options.config)
    return num_gpus, planner.plan_engine(spec, shape, gpu, stored_bytes)


def _model(model: str, config: Path | None) -> tuple[ModelShape, int]:
    """Return a model's shape and the bytes per parameter in its files. Raises ConfigError if they are not known here."""
    path = config or Path(model)
    if config is None and not path.is_dir():
        presets = [EngineSpec.load(name).model for name in preset_names()]
        if model not in presets:
            raise ConfigError(f"model {model}: its shape is not known here: add --config path/to/config.json")
        return QWEN2_5_32B, planner.STORED_BYTES
    folder = path.parent if path.is_file() else path
    return ModelShape.read(folder), ModelShape.stored_bytes(folder)


def refusal(made: EnginePlan) -> str:
    """Explain in numbers why an engine does not fit, and which changes make it fit, smallest first."""
    need = made.spec.max_seq_len * made.kv_token_bytes
    text = (
        f"Does not fit: {made.gpu.name} has {_gib(made.gpu.memory_bytes)} GiB; weights take {_gib(made.weights_bytes)}, the runtime "
        f"{_gib(made.overhead_bytes)}, and the KV cache gets {made.spec.kv_fraction:.0%} of the rest, {_gib(made.kv_pool_bytes)}; "
        f"one sequence of {made.spec.max_seq_len:,} tokens needs {_gib(need)}."
    )
    suggestions = [f"  {_change(made, other)}: {room(other)}" for other in planner.suggest_fitting_plans(made)]
    if not suggestions:
        return f"{text}\nNo single change makes it fit, nor do any two."
    return "\n".join([text, "Changes that make it fit, smallest first:", *suggestions])


def room(made: EnginePlan) -> str:
    """Say how many tokens and sequences the KV cache holds."""
    length = made.spec.max_seq_len
    text = f"{made.kv_tokens:,} tokens, {made.kv_tokens // length} of {length:,}"
    return text + (f" or {made.kv_tokens // TYPICAL_TOKENS} of {TYPICAL_TOKENS:,}" if length > TYPICAL_TOKENS else "")


def _change(before: EnginePlan, after: EnginePlan) -> str:
    new = " if the GPU is of SM 8.9 or newer" if after.spec.variant == "fp8" and not after.gpu.sm else ""
    gpus = f" on {after.spec.tp} of these GPUs" if after.spec.tp != before.spec.tp else ""
    return " ".join(_flags(before.spec, after.spec)) + gpus + new


def _flags(before: EngineSpec, after: EngineSpec) -> list[str]:
    """Return the command-line options that turn the first spec into the second."""
    return [f"--{name.replace('_', '-')} {new}" for name, new in asdict(after).items() if new != getattr(before, name)]


def table(made: EnginePlan, num_gpus: int) -> Iterator[str]:
    """Yield the lines of the report for people."""
    spec, gpu = made.spec, made.gpu
    known = f", {gpu.bandwidth / 1e12:.3g} TB/s, SM {gpu.sm}" if gpu.bandwidth else ""
    yield f"{spec.model}, {spec.variant}, on {spec.tp} x {gpu.name} ({_gib(gpu.memory_bytes)} GiB{known})"
    yield from _notes(made, num_gpus)
    yield f"\n{'memory of each GPU':<20}{'GiB':>8}"
    yield f"{'weights':<20}{_gib(made.weights_bytes):>8}"
    yield f"{'runtime':<20}{_gib(made.overhead_bytes):>8}  assumed; activations of {spec.max_num_tokens:,} tokens are in it"
    yield f"{'KV cache':<20}{_gib(made.kv_pool_bytes):>8}  {room(made)}; {made.kv_token_bytes // 1024} KiB a token"
    yield f"\n{'step':<12}{'disk GB':>9}{'host memory GB':>16}   estimated time"
    yield from (f"{s.name:<12}{_gb(s.disk_bytes):>9}{_gb(s.host_bytes):>16}   {_span(*s.seconds)}" for s in made.stages)
    host = max(stage.host_bytes for stage in made.stages)
    least = f"   or {_gb(least_disk_bytes(made))} of disk, if each step's input is removed after the step"
    yield f"{'total':<12}{_gb(disk_bytes(made)):>9}{_gb(host):>16}{least}"
    yield f"{'the image':<12}{IMAGE_GB:>9.1f}   to pull, more when unpacked; not in WORK"
    yield from _decodes(made)
    yield from throughput.estimate_lines(throughput.reply_rates(made))
    yield f"\n{NOT_MEASURED}"


def _notes(made: EnginePlan, num_gpus: int) -> Iterator[str]:
    if record := record_of(Path(made.spec.model)):
        yield f"training {record}"
    num_engines, num_left = divmod(num_gpus, made.spec.tp)
    if num_engines > 1:
        yield f"{num_gpus} GPUs are enough for {num_engines} such engines."
    if num_left:
        yield f"{num_left} of {num_gpus} GPUs {'is' if num_left == 1 else 'are'} left over: an engine takes 1, 2 or 4 (--tp)."
    have = num_gpus * made.gpu.memory_bytes
    if made.quantize_gpu_bytes > have:
        yield f"{quantise_refusal(made, have)}."


def quantise_refusal(made: EnginePlan, have_bytes: int) -> str:
    """Explain why GPUs with so much memory in total cannot quantise the weights, and the remedy."""
    return (
        f"Quantising needs about {_gb(made.quantize_gpu_bytes)} GB of GPU memory, because the weights are loaded in the type they are "
        f"stored in, {made.stored_bytes} bytes a parameter; these GPUs have {_gb(have_bytes)}: quantise on others, or store the "
        "weights in bfloat16 first"
    )


def _decodes(made: EnginePlan) -> Iterator[str]:
    found = _found_decodes(made)
    if found:
        head = f"{'sequences':<11}{'of tokens':>10}{'ms a step':>11}{'tokens/s':>10}{f'at {ACHIEVED:.0%}':>8}"
        yield f"\n{head}   upper bound by memory bandwidth"
    for step in found:
        rate = step.tokens_per_s
        yield f"{step.num_sequences:<11}{step.context_tokens:>10,}{step.step_s * 1e3:>11.2f}{rate:>10,.1f}{rate * ACHIEVED:>8,.0f}"


def _found_decodes(made: EnginePlan) -> list[Decode]:
    """Return decode steps of typical loads, and of the spec's batch size with the longest sequences that fit."""
    batch = made.spec.max_batch_size
    longest = min(TYPICAL_TOKENS, made.kv_tokens // batch // SEQ_LEN_STEP * SEQ_LEN_STEP)
    cases = DECODES if any(num == batch for num, _ in DECODES) else (*DECODES, (batch, longest))
    ordered = sorted(cases, key=lambda case: (case[1] > TYPICAL_TOKENS, case[0]))
    return [step for num, tokens in ordered if (step := made.decode(num, tokens))]


def disk_bytes(made: EnginePlan) -> int:
    """Return the disk space of weights, checkpoint and engine together."""
    return sum(stage.disk_bytes for stage in made.stages)


def least_disk_bytes(made: EnginePlan) -> int:
    """Return the disk space if each step's input is removed after the step."""
    sizes = [stage.disk_bytes for stage in made.stages]
    return max(before + after for before, after in pairwise(sizes))


def as_json(made: EnginePlan, num_gpus: int) -> dict[str, Any]:
    """Return all figures; ``fitting_specs`` are specs that fit, if this spec does not."""
    decodes = _found_decodes(made)
    return {
        "spec": asdict(made.spec),
        "training": asdict(record) if (record := record_of(Path(made.spec.model))) else None,
        "gpu": asdict(made.gpu),
        "num_gpus": num_gpus,
        "fits": made.fits,
        "weights_bytes": made.weights_bytes,
        "overhead_bytes": made.overhead_bytes,
        "kv_token_bytes": made.kv_token_bytes,
        "kv_pool_bytes": made.kv_pool_bytes,
        "kv_tokens": made.kv_tokens,
        "quantize_gpu_bytes": made.quantize_gpu_bytes,
        "stages": [asdict(stage) for stage in made.stages],
        "disk_bytes": disk_bytes(made),
        "least_disk_bytes": least_disk_bytes(made),
        "decode_at_most": [{**asdict(step), "tokens_per_s": step.tokens_per_s} for step in decodes],
        "replies_estimated": [asdict(rate) for rate in throughput.reply_rates(made)],
        "decode_at_least": _step(made) if made.gpu.bandwidth else None,
        "fitting_specs": [] if made.fits else [asdict(other.spec) for other in planner.suggest_fitting_plans(made)],
    }


def _step(made: EnginePlan) -> dict[str, float]:
    """Return the least time of a decode step: for the weights, and for each token in the KV cache. `s1 loadtest --roofline` draws it."""
    return {"weights_ms": made.step_weights_s * 1e3, "context_token_ns": made.step_token_s * 1e9}


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / GIB:.1f}"


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / GB:.1f}"


def _span(low_s: float, high_s: float) -> str:
    return f"{max(1, round(low_s / 60))} to {max(2, round(high_s / 60))} min"
