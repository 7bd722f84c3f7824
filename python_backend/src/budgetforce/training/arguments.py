# SPDX-License-Identifier: Apache-2.0
"""The arguments of TRL's trainer that follow from a recipe. Whatever they leave out is decided in ``trainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, PartialState
from trl import SFTConfig

from budgetforce.training.recipe import TrainingRecipe
from budgetforce.training.schedule import accumulation


def training_arguments(recipe: TrainingRecipe, states: Path, steps: int, num_processes: int) -> SFTConfig:
    """Return the arguments for a run of ``steps`` optimizer steps."""
    arguments = SFTConfig(
        output_dir=str(states),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch.per_device,
        gradient_accumulation_steps=accumulation(recipe.batch, num_processes),
        max_length=None,  # the set's sequences have their final length
        dataset_kwargs={"skip_prepare_dataset": True},
        max_grad_norm=recipe.optim.clip,
        bf16=recipe.precision.compute == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if recipe.states.every_steps else "no",
        save_steps=recipe.states.every_steps or steps,
        save_total_limit=None,  # the trainer would remove the last state before the new one is marked as complete: see Monitor
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        log_level="error",  # its warnings are about settings that are made on purpose
        log_level_replica="error",
        report_to=[],
        **_parallel(recipe, num_processes),
    )
    _shard_on_cpus()
    return arguments


def _shard_on_cpus() -> None:
    """Let accelerate use FSDP2 on CPUs, where it would silently give every process a copy of the model (DDP) instead."""
    state = PartialState()
    if state.distributed_type is DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_XPU  # read only to see whether FSDP2 is possible, and then replaced by FSDP


def _parallel(recipe: TrainingRecipe, num_processes: int) -> dict[str, Any]:
    """Return FSDP2's settings; a single process checkpoints activations by itself."""
    checkpointing = recipe.parallel.activation_checkpointing
    if num_processes == 1:
        return {"activation_checkpointing": checkpointing}
    fsdp = {
        "version": 2,
        "reshard_after_forward": recipe.parallel.reshard_after_forward,
        "activation_checkpointing": checkpointing,
        "cpu_ram_efficient_loading": recipe.model.init is None,
        "state_dict_type": "FULL_STATE_DICT",
    }
    return {"activation_checkpointing": False, "fsdp": True, "fsdp_config": fsdp}
