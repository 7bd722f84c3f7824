# SPDX-License-Identifier: Apache-2.0
"""One run of supervised fine-tuning: from a training set and a recipe to WORK/checkpoint.

Under torchrun every process runs ``train``; the first alone writes. WORK, which all of them must see, holds ``log.jsonl``,
``states/`` while the run is not finished, and ``checkpoint/`` once it is: a Hugging Face folder with training.json,
dataset.json and the log.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from budgetforce.building.code_version import code_commit
from budgetforce.building.stage import BuildFailed, Stage
from budgetforce.curating.tokens import load as load_tokens
from budgetforce.provenance import TRAINING, record_of, weights_sha256
from budgetforce.training import models, states
from budgetforce.training.recipe import TrainingRecipe
from budgetforce.training.schedule import accumulation, num_steps, run_order
from budgetforce.training.training_set import CARD, TrainingSet

LOG, FIGURE = "log.jsonl", "training.png"
PACKAGES = ("torch", "transformers", "trl", "accelerate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run: what is trained, on what, and where.

    Attributes:
        tokenizer: folder of the tokenizer.
        num_processes: processes that torchrun has started, or 1.
        rank: number of this process among them.
    """

    recipe: TrainingRecipe
    data: TrainingSet
    tokenizer: Path
    work: Path
    num_processes: int = 1
    rank: int = 0

    @property
    def stage(self) -> Stage:
        """The stage whose result is the checkpoint."""
        inputs = {"recipe": self.recipe.values, "data": self.data.card["sha256"]} | self.base_record
        return Stage(name="sft", folder=self.work / "checkpoint", inputs=inputs)

    @property
    def base_record(self) -> dict[str, str]:
        """The id of the base's own training as key ``base``; empty for a base that this project has not trained.

        A folder's name says nothing about its weights: it may hold another checkpoint than last time.
        """
        record = record_of(Path(self.recipe.model.base)) if self.recipe.model.base else None
        return {"base": record.id} if record else {}

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return num_steps(len(self.data.input_ids), self.recipe.batch)

    @property
    def states(self) -> Path:
        """Folder of the states that a killed run continues from."""
        return self.work / "states"

    def order(self) -> list[int]:
        """Row numbers of all steps."""
        return run_order(self.data.lengths, self.recipe.batch, self.recipe.seed)


def check_tokenizer(job: Job) -> None:
    """Raise BuildFailed if the set was made with another tokenizer than the model's."""
    found, expected = load_tokens(str(job.tokenizer)).sha256, job.data.card["tokenizer_sha256"]
    if found != expected:
        raise BuildFailed(
            f"{job.data.folder} was made with another tokenizer (SHA-256 {expected[:12]}) than the recipe's model has ({found[:12]}): "
            "render the set again with that tokenizer"
        )


def summary(job: Job, last: Path | None) -> list[str]:
    """Return lines that say what the run does. Raises ConfigError if the processes do not add up to the global batch."""
    batch, lengths = job.recipe.batch, job.data.lengths
    repeats, per_step = accumulation(batch, job.num_processes), batch.global_batch
    tokens_of_run = sum(lengths[row] for row in job.order())
    data = (
        f"{job.data.card['name']}: {len(lengths):,} sequences, {sum(lengths):,} tokens, longest {max(lengths):,}; "
        f"longer than {job.recipe.loss.max_length:,}: {job.data.num_dropped:,} dropped, {job.data.num_cut:,} cut"
    )
    steps = (
        f"{job.recipe.name}: {job.num_steps:,} steps of {per_step} sequences ({job.num_processes} x {batch.per_device} x {repeats}), "
        f"{tokens_of_run:,} tokens; loss averaged by {job.recipe.loss.average}"
    )
    return [data, steps, f"continues at step {states.step_of(last):,}" if last else "starts at step 0"]


def train(job: Job, *, restart: bool = False) -> None:
    """Train from the last state, and write the checkpoint. Raises BuildFailed; the next call continues."""
    from accelerate import PartialState
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    everyone = PartialState(cpu=not _has_gpu())  # joins the processes that torchrun has started
    if job.rank == 0:
        run = {"recipe": job.recipe.sha256[:12], "training set": job.data.card["sha256"][:12], "number of processes": job.num_processes}
        run |= job.base_record
        states.open_states(job.states, run, restart=restart)
        states.remove_incomplete(job.states)
    everyone.wait_for_everyone()
    order, last = job.order(), states.last_state(job.states)
    trainer = _make_trainer(job, order)
    monitor = _watch(job, trainer, order, last) if job.rank == 0 else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if monitor is not None:
        _write_checkpoint(job, trainer, weights, monitor.records)


def check_work(job: Job) -> None:
    """Raise BuildFailed if the work folder holds a finished checkpoint of another run, which this run would replace."""
    if job.stage.stamp() is None and job.stage.folder.exists():
        raise BuildFailed(
            f"{job.stage.folder} was trained by another recipe or on another training set, or has changed: choose another --work, or add "
            "--restart to replace it"
        )


def check_device() -> None:
    """Raise BuildFailed on a machine with GPUs that this PyTorch does not see: it would train on the CPU for weeks."""
    if shutil.which("nvidia-smi") and not _has_gpu() and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        raise BuildFailed(
            f"PyTorch {version('torch')} sees no GPU, although this machine has NVIDIA's driver: run build/train.py setup --cuda, "
            "or set CUDA_VISIBLE_DEVICES= to train on the CPU"
        )


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _make_trainer(job: Job, order: list[int]) -> Any:
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback

    from budgetforce.training.arguments import training_arguments
    from budgetforce.training.trainer import RecipeTrainer, collated, dataset_of

    tokenizer = AutoTokenizer.from_pretrained(str(job.tokenizer), local_files_only=True)
    # Made before the model, which FSDP2's settings let load its weights in the first process alone.
    arguments = training_arguments(job.recipe, job.states, job.num_steps, job.num_processes)
    trainer = RecipeTrainer(
        recipe=job.recipe,
        order=order,
        model=models.load_model(job.recipe.model, tokenizer, job.recipe.seed),
        args=arguments,
        train_dataset=dataset_of(job.data),
        data_collator=collated(models.pad_id(tokenizer, job.recipe.model)),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _watch(job: Job, trainer: Any, order: list[int], last: Path | None) -> Any:
    from budgetforce.training.monitor import Monitor

    size, lengths = job.recipe.batch.global_batch, job.data.lengths
    step_tokens = [sum(lengths[row] for row in order[start : start + size]) for start in range(0, len(order), size)]
    monitor = Monitor(job.work / LOG, step_tokens, states.step_of(last) if last else 0, job.recipe.states.keep)
    trainer.add_callback(monitor)
    return monitor


def _write_checkpoint(job: Job, trainer: Any, weights: dict[str, Any], records: list[dict[str, Any]]) -> None:
    from budgetforce.training.figure import draw

    with job.stage.making() as result:
        models.save_model(trainer.model, weights, job.recipe.precision.save, job.tokenizer, result.folder)
        shutil.copyfile(job.data.folder / CARD, result.folder / CARD)
        shutil.copyfile(job.work / LOG, result.folder / LOG)
        draw(records, result.folder / FIGURE)
        training = _training(job, trainer, records) | {"weights_sha256": weights_sha256(result.folder)}
        (result.folder / TRAINING).write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(job.states, ignore_errors=True)


def _training(job: Job, trainer: Any, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of the run, but for the weights' digest."""
    import torch

    recipe, card, last = job.recipe, job.data.card, records[-1]
    base = {"init": recipe.values["model"]["init"]}
    if recipe.model.init is None:
        commit = getattr(trainer.model.config, "_commit_hash", None)
        base = {"model": recipe.model.base, "commit": commit, "training": job.base_record.get("base")}
    return {
        "name": recipe.name,
        "recipe": recipe.values,
        "recipe_sha256": recipe.sha256,
        "dataset": {"name": card["name"], "sha256": card["sha256"], "num_rows": len(job.data.input_ids)},
        "num_dropped": job.data.num_dropped,
        "num_cut": job.data.num_cut,
        "base": base,
        "versions": {name: version(name) for name in PACKAGES} | {"torch": torch.__version__},  # which names its build
        "world_size": job.num_processes,
        "accumulation": accumulation(recipe.batch, job.num_processes),
        "loss_average": recipe.loss.average,
        "num_steps": last["step"],
        "num_tokens": last["tokens"],
        "final_loss": last["loss"],
        "seconds": last["seconds"],
        "code": code_commit(),
    }


def processes() -> tuple[int, int]:
    """Return the number of processes that torchrun has started and the number of this one; (1, 0) without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
