# SPDX-License-Identifier: Apache-2.0
"""What a training run needs: memory of each GPU, disk, steps and hours. Arithmetic; no GPU has confirmed it yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from budgetforce.building.gpus import GIB, Gpu
from budgetforce.building.spec import ModelShape
from budgetforce.training.recipe import ExpectedSet, TrainingRecipe
from budgetforce.training.schedule import num_steps

STATE_BYTES = {"weights": 4, "gradients": 4, "AdamW": 8}  # per parameter, float32, split over all GPUs
BF16, FP32 = 2, 4
RUNTIME_BYTES = 4 * GIB  # CUDA context, NCCL's buffers, workspaces: an estimate
FRAGMENTATION = 0.05  # share of the memory that the allocator cannot use: an estimate
LOGIT_TILE = 4096 * 32768  # tokens times vocabulary that TRL's output layer works on at once (trl.kernels @1.16.0)
NUM_TILES = 3
# Share of a GPU's peak that the authors' run reached: 6 FLOPs x 32.76e9 parameters x 23.7e6 tokens in 26 minutes on 16 H100.
UTILISATION = 0.19
UTILISATION_RANGE = (0.12, 0.35)  # of full fine-tuning of such models, by experience; it depends most on the network between the nodes
# Dense bf16 peak in FLOP/s by NVIDIA's data sheets.
PEAKS = {
    "A100-40GB": 312e12,
    "A100-80GB": 312e12,
    "RTX-A6000": 155e12,
    "L40S": 362e12,
    "RTX-6000-Ada": 364e12,
    "H100": 989e12,
    "H100-PCIe": 756e12,
    "H100-NVL": 835e12,
    "H200": 989e12,
    "B200": 2250e12,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """A run on GPUs of one kind, with everything that follows from its recipe.

    Attributes:
        data: sizes of the training set.
    """

    recipe: TrainingRecipe
    shape: ModelShape
    data: ExpectedSet
    num_gpus: int
    gpu: Gpu

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence; a longer one of the set is cut or dropped."""
        return min(self.data.max_tokens, self.recipe.loss.max_length)

    @property
    def memory_bytes(self) -> dict[str, int]:
        """Memory of each GPU by purpose, at the longest sequence."""
        parts = {name: size * self.shape.num_parameters // self.num_gpus for name, size in STATE_BYTES.items()}
        return parts | {
            "gathered layers": self._gathered_bytes,
            "activations": self._activation_bytes,
            "output layer": self._output_bytes,
            "runtime": RUNTIME_BYTES + int(self.gpu.memory_bytes * FRAGMENTATION),
        }

    @property
    def needed_bytes(self) -> int:
        """Memory that each GPU needs in all."""
        return sum(self.memory_bytes.values())

    @property
    def fits(self) -> bool:
        """Whether every GPU has the memory."""
        return self.needed_bytes <= self.gpu.memory_bytes

    @property
    def _gathered_bytes(self) -> int:
        """Whole weights of the layer that is computed and the next one, and a whole gradient, in the format of the computation."""
        if self.num_gpus == 1:
            return 0
        return 3 * self._layer_parameters * self._compute_size

    @property
    def _compute_size(self) -> int:
        """Bytes of a number in the forward and backward passes."""
        return FP32 if self.recipe.precision.compute == "float32" else BF16

    @property
    def _layer_parameters(self) -> int:
        embeddings = (1 if self.shape.tie_word_embeddings else 2) * self.shape.vocab_size * self.shape.hidden_size
        return (self.shape.num_parameters - embeddings) // self.shape.num_hidden_layers

    @property
    def _activation_bytes(self) -> int:
        """Kept tensors: with checkpointing each layer's input and one whole layer, else every layer whole.

        A whole layer, per token: eight tensors of the hidden size, keys and values, four of the MLP, and two norms in float32.
        """
        shape, num_tokens = self.shape, self.longest * self.recipe.batch.per_device
        kv_size = shape.num_key_value_heads * shape.head_size
        size = self._compute_size
        whole = size * (8 * shape.hidden_size + 2 * kv_size + 4 * shape.intermediate_size) + 2 * FP32 * shape.hidden_size
        if not self.recipe.parallel.activation_checkpointing:
            return num_tokens * whole * shape.num_hidden_layers
        return num_tokens * (whole + size * shape.hidden_size * shape.num_hidden_layers)

    @property
    def _output_bytes(self) -> int:
        """The whole output embedding and its gradient in float32, and tiles of logits."""
        embedding = self.shape.vocab_size * self.shape.hidden_size
        tile = min(LOGIT_TILE, self.longest * self.recipe.batch.per_device * self.shape.vocab_size)
        return 2 * FP32 * embedding + NUM_TILES * FP32 * tile

    @property
    def host_bytes(self) -> int:
        """Memory of the first machine's host: the first process loads all weights in float32."""
        return FP32 * self.shape.num_parameters

    @property
    def disk_bytes(self) -> dict[str, int]:
        """Disk by purpose; while a new state is written there is one more than ``keep``.

        A state holds float32 weights and AdamW's numbers; under FSDP2 the trainer writes the weights twice (seen with transformers 5.24).
        """
        saved = BF16 if self.recipe.precision.save == "bfloat16" else FP32
        copies = self.recipe.states.keep + 1 if self.recipe.states.every_steps else 0
        weights = STATE_BYTES["weights"] * (1 if self.num_gpus == 1 else 2)
        per_state = (weights + STATE_BYTES["AdamW"]) * self.shape.num_parameters
        return {"base": BF16 * self.shape.num_parameters, "states": copies * per_state, "checkpoint": saved * self.shape.num_parameters}

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return num_steps(self.data.num_rows, self.recipe.batch)

    @property
    def accumulation(self) -> int | None:
        """Forward passes of each GPU in one step; None if they do not add up to the global batch."""
        batch = self.recipe.batch
        steps, rest = divmod(batch.global_batch, batch.per_device * self.num_gpus)
        return None if rest else steps

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole run, sequences that fill up a last batch included."""
        per_row = min(self.data.num_tokens / self.data.num_rows, self.recipe.loss.max_length)
        return int(self.num_steps * self.recipe.batch.global_batch * per_row)

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """Least, expected and largest duration; None for a GPU whose peak is not known."""
        if self.gpu.name not in PEAKS:
            return None
        at_peak = 6 * self.shape.num_parameters * self.num_tokens / (self.num_gpus * PEAKS[self.gpu.name])
        slow, fast = UTILISATION_RANGE
        return at_peak / fast, at_peak / UTILISATION, at_peak / slow


def fitting_plans(plan: TrainingPlan) -> Iterator[TrainingPlan]:
    """Yield changes that make a run fit, each alone: activation checkpointing, shorter sequences, more GPUs."""
    parallel = replace(plan.recipe.parallel, activation_checkpointing=True)
    checkpointed = replace(plan, recipe=replace(plan.recipe, parallel=parallel))
    lengths = (replace(plan, recipe=_with_length(plan.recipe, length)) for length in range(plan.longest - plan.longest % 1024, 1023, -1024))
    shorter = next((other for other in lengths if other.fits), None)
    counts = range(plan.num_gpus + 1, plan.recipe.batch.global_batch // plan.recipe.batch.per_device + 1)
    more = next((other for count in counts if (other := replace(plan, num_gpus=count)).accumulation and other.fits), None)
    yield from (other for other in (checkpointed, more, shorter) if other is not None and other.fits)


def _with_length(recipe: TrainingRecipe, length: int) -> TrainingRecipe:
    return replace(recipe, loss=replace(recipe.loss, max_length=length))
