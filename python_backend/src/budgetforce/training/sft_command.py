# SPDX-License-Identifier: Apache-2.0
"""Sub-command ``sft``: train by a recipe."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from budgetforce.building.stage import BuildFailed, locked
from budgetforce.errors import ConfigError
from budgetforce.training.options import add_recipe_option
from budgetforce.training.recipe import load_recipe

_DISK_FULL = "the disk is full: free space for {work} (sub-command plan says how much), and start again"
# text in an error's message: what to do
ADVICE = {
    "No space left on device": _DISK_FULL,  # of the system and of safetensors
    "file write failed": _DISK_FULL,  # of torch.save
    "CUDA out of memory": (
        "the memory of a GPU is full: lower batch.per_device or loss.max_length, set parallel.activation_checkpointing, "
        "or use more GPUs (sub-command plan says how many)"
    ),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add sub-command ``sft`` to a command line."""
    text = "train by a recipe on a published training set; a killed run continues when it is started again"
    parser = subparsers.add_parser("sft", help=text, description=f"sft: {text}. The result is WORK/checkpoint.")
    add_recipe_option(parser)
    parser.add_argument("--data", required=True, type=Path, metavar="SET", help="folder of the training set: data.parquet, dataset.json")
    parser.add_argument("--work", required=True, type=Path, metavar="WORK", help="folder for the checkpoint, the log and the states")
    parser.add_argument("--dry-run", action="store_true", help="only check everything and print what would be done")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="fail if there is no state to continue from")
    again.add_argument("--restart", action="store_true", help="give up the states or the checkpoint of an earlier run, and begin anew")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from budgetforce.training import models, sft, states, training_set

    recipe, (num_processes, rank) = load_recipe(options.recipe), sft.processes()
    data = training_set.read_set(options.data, recipe.loss)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = models.tokenizer_folder(recipe.model, Path(scratch))
        job = sft.Job(recipe=recipe, data=data, tokenizer=tokenizer, work=options.work, num_processes=num_processes, rank=rank)
        sft.check_tokenizer(job)
        sft.check_device()
        if not options.restart:
            sft.check_work(job)
            if job.stage.stamp():
                print(f"{job.stage.folder} is trained already", file=sys.stderr)
                return 0
        last = states.last_state(job.states)
        if rank == 0:
            print("\n".join(sft.summary(job, None if options.restart else last)), file=sys.stderr)
        if options.dry_run:
            return 0
        if options.resume and last is None:
            raise ConfigError(f"{job.states} holds no state to continue from")
        with nullcontext() if rank else locked(options.work), readable_errors(options.work):
            sft.train(job, restart=options.restart)
    return 0


@contextmanager
def readable_errors(work: Path) -> Iterator[None]:
    """Turn the many errors that PyTorch and safetensors raise on a full disk or full GPUs, and those of a file, into BuildFailed."""
    try:
        yield
    except Exception as error:
        advice = next((advice for text, advice in ADVICE.items() if text in str(error)), None)
        if advice is None and isinstance(error, OSError) and error.filename and error.strerror:
            advice = f"{error.filename}: {error.strerror}".replace("{", "{{").replace("}", "}}")
        if advice is None:
            raise
        raise BuildFailed(advice.format(work=work)) from error
