# SPDX-License-Identifier: Apache-2.0
"""Sub-command ``plan``: memory, disk, steps and hours of a training run, before anything is installed or downloaded."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from budgetforce.building.gpus import GB, GIB, parse_gpus
from budgetforce.building.toolrun import duration
from budgetforce.errors import ConfigError
from budgetforce.training.options import add_recipe_option
from budgetforce.training.planner import TrainingPlan, fitting_plans
from budgetforce.training.recipe import ExpectedSet, TrainingRecipe, load_recipe
from budgetforce.training.schedule import accumulation
from budgetforce.training.shapes import shape_of

NOT_MEASURED = (
    "Computed for FSDP2, not yet run on GPUs. The hours assume 19 % of the GPUs' peak, which the authors' 26 minutes on 16 H100 "
    "come to; their range is 12 to 35 %."
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add sub-command ``plan`` to a command line."""
    text = "compute the memory, disk, steps and hours of a training run"
    parser = subparsers.add_parser("plan", help=text, description=f"plan: {text}. If it does not fit: why, and what does.")
    add_recipe_option(parser)
    parser.add_argument("--gpus", required=True, metavar="GPUS", help="number and kind of GPUs: 16xH100, 8xA100-80GB, or by memory 8x80GB")
    parser.add_argument("--data", type=Path, metavar="SET", help="folder of the training set (default: the sizes in the recipe)")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all figures, sizes in bytes")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    recipe, (num_gpus, gpu) = load_recipe(options.recipe), parse_gpus(options.gpus)
    accumulation(recipe.batch, num_gpus)
    data = _sizes(options.data, recipe)
    _check_length(data, recipe)
    plan = TrainingPlan(recipe=recipe, shape=shape_of(recipe.model), data=data, num_gpus=num_gpus, gpu=gpu)
    if options.json:
        print(json.dumps(as_json(plan), indent=2))
    else:
        print("\n".join(table(plan)))
    if not plan.fits:
        print(refusal(plan), file=sys.stderr)
    return 0 if plan.fits else 1


def _check_length(data: ExpectedSet, recipe: TrainingRecipe) -> None:
    """Raise ConfigError for a set that sub-command sft would refuse: a plan of it would be for other sequences."""
    loss = recipe.loss
    if loss.on_too_long == "refuse" and data.max_tokens > loss.max_length:
        raise ConfigError(
            f"the longest sequence has {data.max_tokens:,} tokens, and recipe {recipe.name} allows {loss.max_length:,}: raise "
            "loss.max_length, or set loss.on_too_long to 'drop' or 'cut'"
        )


def _sizes(folder: Path | None, recipe: TrainingRecipe) -> ExpectedSet:
    """Return the sizes of a set, or those that the recipe expects. Raises ConfigError if there is neither."""
    if folder is None:
        if recipe.expected is None:
            raise ConfigError(f"recipe {recipe.name} names no sizes of a set: add --data SET")
        return recipe.expected
    path = folder / "dataset.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return ExpectedSet(**{name: card[name] for name in ("num_rows", "num_tokens", "max_tokens")})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def refusal(plan: TrainingPlan) -> str:
    """Say in one sentence why a run does not fit and what would."""
    need, have = _gib(plan.needed_bytes), _gib(plan.gpu.memory_bytes)
    ways = [_change(plan, other) for other in fitting_plans(plan)]
    fits = f"it fits with {', or with '.join(ways)}" if ways else "no single change makes it fit"
    return f"Does not fit: each GPU needs {need} GiB at sequences of {plan.longest:,} tokens and {plan.gpu.name} has {have}; {fits}."


def _change(plan: TrainingPlan, other: TrainingPlan) -> str:
    if other.num_gpus != plan.num_gpus:
        return f"{other.num_gpus}x{plan.gpu.name}"
    if other.recipe.loss != plan.recipe.loss:
        return f"loss.max_length = {other.recipe.loss.max_length}"
    return "parallel.activation_checkpointing = true"


def table(plan: TrainingPlan) -> Iterator[str]:
    """Yield the lines of the report for people."""
    recipe, batch = plan.recipe, plan.recipe.batch
    yield f"{recipe.name} on {plan.num_gpus}x{plan.gpu.name}: {plan.shape.num_parameters / 1e9:.4g} G parameters"
    yield ""
    yield f"{'Memory of each GPU':24}{'GiB':>8}"
    for name, size in plan.memory_bytes.items():
        yield f"  {name:22}{_gib(size):>8}"
    yield f"  {'needed':22}{_gib(plan.needed_bytes):>8}   of {_gib(plan.gpu.memory_bytes)}, at sequences of {plan.longest:,} tokens"
    yield f"{'Memory of the first host':24}{_gib(plan.host_bytes):>8}"
    yield ""
    yield f"{'Disk':24}{'GB':>8}"
    for name, size in plan.disk_bytes.items():
        yield f"  {name:22}{size / GB:>8.1f}"
    yield ""
    shares = f"{plan.num_gpus} GPUs x {batch.per_device} x {plan.accumulation} accumulated"
    yield f"Steps   {plan.num_steps:,} of {batch.global_batch} sequences ({shares}), {batch.epochs} epochs of {plan.data.num_rows:,} rows"
    yield f"Tokens  {plan.num_tokens / 1e6:,.1f} M; loss averaged by {recipe.loss.average}"
    yield f"Time    {_time(plan)}"
    yield NOT_MEASURED


def _time(plan: TrainingPlan) -> str:
    if plan.seconds is None:
        return f"unknown: the peak of {plan.gpu.name} is not known here"
    fast, expected, slow = plan.seconds
    return f"{duration(expected)} ({duration(fast)} to {duration(slow)}), {plan.num_gpus * expected / 3600:.1f} GPU-hours"


def as_json(plan: TrainingPlan) -> dict[str, Any]:
    """Return all figures of a plan: sizes in bytes, durations in seconds."""
    return {
        "recipe": plan.recipe.name,
        "num_gpus": plan.num_gpus,
        "gpu": plan.gpu.name,
        "fits": plan.fits,
        "memory_bytes": plan.memory_bytes,
        "needed_bytes": plan.needed_bytes,
        "available_bytes": plan.gpu.memory_bytes,
        "host_bytes": plan.host_bytes,
        "disk_bytes": plan.disk_bytes,
        "num_steps": plan.num_steps,
        "accumulation": plan.accumulation,
        "num_tokens": plan.num_tokens,
        "seconds": plan.seconds,
    }


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
