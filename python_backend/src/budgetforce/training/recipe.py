# SPDX-License-Identifier: Apache-2.0
"""Training recipes: one TOML file holds every setting that a trained model depends on."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from budgetforce.building.stage import digest_of
from budgetforce.curating.settings import Reader, check, check_at_least, check_positive
from budgetforce.errors import ConfigError

RECIPES = Path(__file__).with_name("recipes")
VOCABULARY_STEP = 32  # llama.cpp's Q8_0 and OpenVINO need embedding rows in multiples of it


@dataclass(frozen=True, slots=True, kw_only=True)
class InitSettings:
    """Shape of a model that starts from random weights, with the field names of Hugging Face's config.json.

    Attributes:
        tokenizer: folder of the tokenizer, or "s1-tiny", which this package builds. The vocabulary size follows from it.
        initializer_range: standard deviation of the initial weights.
    """

    tokenizer: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        check_at_least(self, 1, "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
        check_at_least(self, 1, "max_position_embeddings")
        heads = self.num_attention_heads
        check("hidden_size", self.hidden_size, self.hidden_size % heads == 0, "a multiple of num_attention_heads")
        check("num_attention_heads", heads, heads % self.num_key_value_heads == 0, "a multiple of num_key_value_heads")
        check_positive(self, "rope_theta", "initializer_range")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The weights that training starts from: a pretrained model, or a shape with random weights.

    Attributes:
        base: hub id or folder of a pretrained model.
        revision: commit of the hub's repository, or a branch; "" for its main branch, and for a folder.
        init: shape of a model with random weights, instead of ``base``.
        pad_token: token that fills short sequences; never the end-of-turn token, whose loss would be lost.
    """

    base: str = ""
    revision: str = ""
    init: InitSettings | None = None
    pad_token: str = "<|fim_pad|>"  # noqa: S105

    def __post_init__(self) -> None:
        check("base", self.base, bool(self.base) != (self.init is not None), "either base or a table [model.init]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimSettings:
    """The optimizer and its schedule.

    Attributes:
        name: "adamw", or "muon+adamw": Muon for the matrices of the layers, AdamW for embeddings, norms and biases.
        lr: peak learning rate of AdamW.
        weight_decay: decoupled, of AdamW's matrices.
        matrix_lr, matrix_momentum, matrix_weight_decay: the same of Muon.
        warmup: linear warm-up; below 1 a share of all steps, rounded up, else a number of steps.
        min_lr_share: share of the peak that the cosine ends at.
        clip: largest norm of the gradient.
    """

    name: Literal["adamw", "muon+adamw"] = "adamw"
    lr: float
    betas: tuple[float, ...] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    matrix_lr: float = 0.02
    matrix_momentum: float = 0.95
    matrix_weight_decay: float = 0.0
    warmup: float = 0.05
    min_lr_share: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "lr", "eps", "matrix_lr", "clip")
        for name in ("weight_decay", "matrix_weight_decay"):
            check(name, getattr(self, name), getattr(self, name) >= 0, "a number >= 0")
        check("matrix_momentum", self.matrix_momentum, 0 <= self.matrix_momentum < 1, "0 <= momentum < 1")
        check("betas", self.betas, len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two numbers, 0 <= beta < 1")
        is_count = self.warmup >= 1 and float(self.warmup).is_integer()
        check("warmup", self.warmup, 0 <= self.warmup < 1 or is_count, "a share, 0 <= share < 1, or a whole number of steps")
        check("min_lr_share", self.min_lr_share, 0 <= self.min_lr_share <= 1, "0 <= share <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """The batches of a run.

    Attributes:
        global_batch: sequences of one optimizer step, of all processes together.
        per_device: sequences of one forward pass on one device; the rest of the global batch is accumulated.
        max_steps: end of the run before its last epoch; 0 for none.
        length_grouped: whether a batch holds sequences of similar length, which saves padding.
    """

    global_batch: int
    per_device: int = 1
    epochs: int
    max_steps: int = 0
    length_grouped: bool = False

    def __post_init__(self) -> None:
        check_at_least(self, 1, "global_batch", "per_device", "epochs")
        check_at_least(self, 0, "max_steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """The loss and the sequences that it is computed on.

    Attributes:
        average: "sample", the mean over sequences of each sequence's token mean, as the authors of s1 trained;
            "token", the mean over all tokens of the global batch, where long sequences weigh more.
        max_length: tokens of the longest sequence.
        on_too_long: what happens to longer sequences: the run is refused, they are dropped, or their end is cut off.
    """

    average: Literal["sample", "token"]
    max_length: int
    on_too_long: Literal["refuse", "drop", "cut"] = "refuse"

    def __post_init__(self) -> None:
        check_at_least(self, 2, "max_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionSettings:
    """Number formats; the optimizer always works on float32 weights.

    Attributes:
        compute: of the forward and backward passes.
        save: of the checkpoint's weights.
    """

    compute: Literal["float32", "bfloat16"] = "bfloat16"
    save: Literal["float32", "bfloat16"] = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelSettings:
    """How several processes share a model: always FSDP2, with parameters, gradients and optimizer states split over all.

    Attributes:
        activation_checkpointing: whether layers are computed again in the backward pass instead of kept.
        reshard_after_forward: whether a layer's gathered weights are freed after its forward pass.
    """

    activation_checkpointing: bool = False
    reshard_after_forward: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """The states that a killed run continues from.

    Attributes:
        every_steps: optimizer steps between two states; 0 for none.
        keep: number of states on disk.
    """

    every_steps: int = 0
    keep: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 0, "every_steps")
        check_at_least(self, 1, "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSet:
    """Sizes of the training set that a recipe is meant for: a plan uses them where no set is given.

    Attributes:
        num_tokens: of all sequences.
        max_tokens: of the longest sequence.
    """

    num_rows: int
    num_tokens: int
    max_tokens: int

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_rows", "num_tokens", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """All settings of a training run, and the sizes of the set that it is meant for."""

    name: str
    seed: int = 42
    model: ModelSettings
    optim: OptimSettings
    batch: BatchSettings
    loss: LossSettings
    precision: PrecisionSettings = field(default_factory=PrecisionSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    states: StateSettings = field(default_factory=StateSettings)
    expected: ExpectedSet | None = None

    def __post_init__(self) -> None:
        check("seed", self.seed, 0 <= self.seed < 2**32, "an integer from 0 to 2**32 - 1")  # as NumPy takes it

    @property
    def values(self) -> dict[str, Any]:
        """All settings that a run depends on as JSON values, defaults included."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        del values["expected"]
        return values

    @property
    def sha256(self) -> str:
        """SHA-256 of ``values``, which names the settings."""
        return digest_of(self.values)


def recipe_names() -> list[str]:
    """Return the names of the bundled recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str) -> TrainingRecipe:
    """Load a bundled recipe by name, or a TOML file by path. Raises ConfigError naming the file and the wrong key."""
    path = RECIPES / f"{name}.toml" if name in recipe_names() else Path(name)
    if path.suffix != ".toml":
        raise ConfigError(f"recipe: got {name!r}, allowed: {', '.join(recipe_names())}, or the path of a TOML file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"recipe {path} cannot be read: {error}") from None
    return Reader(folder=path.parent, file=path.name).settings(TrainingRecipe, values, "")
