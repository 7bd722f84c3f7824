# SPDX-License-Identifier: Apache-2.0
"""TRL's SFTTrainer with the recipe's order of sequences, loss average, optimizer and learning rate.

It differs from its base class where that would depend on the number of processes, or computes what nobody reads:

* The order is fixed for the whole run (see ``schedule``), so that any number of processes takes the same steps.
* The loss is the mean over the global batch, either of sequences or of tokens.
* Short sequences are padded on the right without an attention mask: a causal model's real tokens never see the padding.
* The base class's entropy and token accuracy are left out; they need two more passes over the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional
from torch.utils.data import Sampler
from trl import SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.masking import NO_LOSS
from budgetforce.training.muon import make_optimizer
from budgetforce.training.recipe import TrainingRecipe
from budgetforce.training.schedule import lr_factor
from budgetforce.training.training_set import TrainingSet

FULL_LOGITS = 4096  # vocabularies up to it get plain logits: on a CPU that is faster than TRL's head, which works in chunks


class RecipeTrainer(SFTTrainer):
    """Trains by a recipe.

    order: row numbers of all steps, ``global_batch`` a step.
    """

    def __init__(self, *, recipe: TrainingRecipe, order: Sequence[int], **options: Any) -> None:
        self._recipe, self._order = recipe, order
        super().__init__(**options)
        self.loss_is_scaled_for_ga = True
        add_fused_lm_head(self.model, outputs=("log_probs",))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:  # noqa: ARG002
        return FixedOrder(self._order)

    def _prepare_for_training(self, *args: Any, **options: Any) -> Any:
        """Prepare as the base class does. Raises BuildFailed if several processes would not share the model."""
        prepared = super()._prepare_for_training(*args, **options)
        if self.accelerator.num_processes > 1 and not isinstance(self.model, FSDPModule):
            raise BuildFailed("accelerate has not split the model over the processes by FSDP2")
        return prepared

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the recipe's optimizer, made once."""
        if self.optimizer is None:
            self.optimizer: torch.optim.Optimizer = make_optimizer(self.model if model is None else model, self._recipe.optim)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the recipe's schedule, made once."""
        if self.lr_scheduler is None:

            def factor(step: int) -> float:
                return lr_factor(step, num_training_steps, self._recipe.optim)

            self.lr_scheduler: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Return this forward pass's share of the loss; FSDP averages gradients over processes, accumulation adds them up."""
        assert not return_outputs
        labels = inputs["labels"]
        losses = self._token_losses(model, inputs["input_ids"], labels)
        if self._recipe.loss.average == "token":
            return losses.sum() * self.accelerator.num_processes / num_items_in_batch
        counts = (labels[:, 1:] != NO_LOSS).sum(1).clamp(min=1)
        sequences = self._recipe.batch.global_batch // self.accelerator.num_processes
        return (losses.sum(1) / counts).sum() / sequences

    def _token_losses(self, model: Any, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each token but the first, shape (sequences, tokens - 1), 0 where a label is -100."""
        if self.model.config.vocab_size > FULL_LOGITS:
            log_probs: torch.Tensor = model(input_ids=input_ids, labels=labels, fused_lm_head=True).log_probs
            return -log_probs
        logits = model(input_ids=input_ids, use_cache=False).logits[:, :-1]
        losses = functional.cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=NO_LOSS, reduction="none")
        return losses.view(labels.size(0), -1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Pass the figures of a step on. Raises BuildFailed if the loss is no number any more: nothing after it is worth computing."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise BuildFailed(f"step {self.state.global_step}: the loss is {logs['loss']}: lower the learning rate")
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a state. It returns when every process has written its files: the first then marks them as complete."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()

    def create_model_card(self, **_: Any) -> None:
        """Write no card: training.json says more."""


class FixedOrder(Sampler[int]):
    """Yields row numbers in a given order."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


def dataset_of(data: TrainingSet) -> Dataset:
    """Return a set's sequences as TRL wants them, without copying a row."""
    offsets = np.concatenate([[0], np.cumsum(data.lengths)])
    columns = {
        name: pa.LargeListArray.from_arrays(offsets, np.concatenate(rows))
        for name, rows in (("input_ids", data.input_ids), ("labels", data.labels))
    }
    return Dataset(pa.table(columns)).with_format("numpy")


def collated(pad_id: int) -> Any:
    """Return a function that makes a batch of rows: int64 tensors of ids and labels, padded on the right."""

    def collate(rows: Sequence[dict[str, Sized]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = np.full((len(rows), width), pad_id)
        labels = np.full((len(rows), width), NO_LOSS)
        for index, row in enumerate(rows):
            ids[index, : len(row["input_ids"])] = row["input_ids"]
            labels[index, : len(row["labels"])] = row["labels"]
        return {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}

    return collate
