# SPDX-License-Identifier: Apache-2.0
"""The order of sequences in a run, and its learning rate: the same for any number of processes.

The whole run is one fixed list of global batches. How many processes share a batch, and how often each accumulates, changes
nothing in it, so the same recipe gives the same steps on any machine. Standard library only.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from budgetforce.errors import ConfigError
from budgetforce.training.recipe import BatchSettings, OptimSettings

GROUP_BATCHES = 50  # batches among whose sequences a length-grouped batch finds its likes


def num_steps(num_rows: int, batch: BatchSettings) -> int:
    """Return the optimizer steps of a run."""
    steps = batch.epochs * math.ceil(num_rows / batch.global_batch)
    return min(steps, batch.max_steps) if batch.max_steps else steps


def run_order(lengths: Sequence[int], batch: BatchSettings, seed: int) -> list[int]:
    """Return the row numbers of all steps in order; each run of ``global_batch`` numbers is one step.

    lengths: tokens of each row.
    """
    epochs = (_epoch(lengths, batch, random.Random(f"{seed}/epoch {epoch}")) for epoch in range(batch.epochs))  # noqa: S311
    order = [row for epoch in epochs for row in epoch]
    return order[: num_steps(len(lengths), batch) * batch.global_batch]


def _epoch(lengths: Sequence[int], batch: BatchSettings, rng: random.Random) -> list[int]:
    rows = list(range(len(lengths)))
    rng.shuffle(rows)
    while len(rows) % batch.global_batch:  # the last batch is filled up from the first, as by accelerate in the authors' runs
        rows += rows[: batch.global_batch - len(rows) % batch.global_batch]
    if not batch.length_grouped:
        return rows
    size = batch.global_batch * GROUP_BATCHES
    groups = (sorted(rows[start : start + size], key=lambda row: (lengths[row], row)) for start in range(0, len(rows), size))
    batches = [group[start : start + batch.global_batch] for group in groups for start in range(0, len(group), batch.global_batch)]
    rng.shuffle(batches)
    return [row for rows_of_step in batches for row in rows_of_step]


def accumulation(batch: BatchSettings, num_processes: int) -> int:
    """Return the forward passes of each process in one step. Raises ConfigError if they do not add up to the global batch."""
    at_once = batch.per_device * num_processes
    if batch.global_batch % at_once:
        fitting = [number for number in range(1, batch.global_batch + 1) if batch.global_batch % (batch.per_device * number) == 0]
        raise ConfigError(
            f"batch: global_batch {batch.global_batch} is not a multiple of {at_once}, the sequences of {num_processes} processes "
            f"with {batch.per_device} each: use {_either(fitting)} processes, or another per_device"
        )
    return batch.global_batch // at_once


def _either(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" or {numbers[-1]}" if len(numbers) > 1 else ", ".join(map(str, numbers))


def num_warmup_steps(optim: OptimSettings, steps: int) -> int:
    """Return the steps of the warm-up."""
    return math.ceil(optim.warmup * steps) if optim.warmup < 1 else int(optim.warmup)


def lr_factor(step: int, steps: int, optim: OptimSettings) -> float:
    """Return the share of the peak learning rate at a step, counted from 0: linear warm-up, then a cosine to its least share."""
    warmup = num_warmup_steps(optim, steps)
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return optim.min_lr_share + (1 - optim.min_lr_share) * 0.5 * (1 + math.cos(math.pi * done))
