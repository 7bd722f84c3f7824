# SPDX-License-Identifier: Apache-2.0
"""The spec of an engine (model, variant, limits), the engine presets, and a model's shape from its config.json."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from budgetforce.errors import ConfigError

IMAGE = "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3"  # the last with TensorRT-LLM's engine backend
TENSORRT_LLM_VERSION = "1.2.1"
TENSORRT_VERSION = "10.14.1.48"
VARIANTS = ("bf16", "fp8", "int4-awq")
TENSOR_PARALLEL = (1, 2, 4)
KV_FRACTION = 0.9  # of the memory left beside weights and runtime; TensorRT-LLM's own default
ARCHITECTURE = "Qwen2ForCausalLM"
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
PRESETS = Path(__file__).with_name("presets")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """The settings that an engine is built with.

    Attributes:
        model: hub id of the weights, or a folder with them.
        revision: commit of the hub's repository, or a branch that is resolved at the first build. "" for a folder.
        preset: the model preset: markers, strings and defaults of requests.
        variant: precision of the weights; the KV cache stays bf16.
        tp: number of GPUs that share the model, by tensor parallelism.
        max_seq_len: prompt, thinking and answer together, in tokens.
        max_num_tokens: tokens of one engine step, prefill chunks and decodes together.
        max_batch_size: sequences that decode concurrently.
        tokens_per_block: tokens in a block of the paged KV cache.
        kv_fraction: fraction of the GPU memory left beside the weights that becomes KV cache.
    """

    model: str
    revision: str = ""
    preset: str = "s1"
    variant: str = "bf16"
    tp: int = 2
    max_seq_len: int = 32768
    max_num_tokens: int = 8192
    max_batch_size: int = 32
    tokens_per_block: int = 32
    kv_fraction: float = KV_FRACTION

    def __post_init__(self) -> None:
        _check("variant", self.variant, VARIANTS)
        _check("tp", self.tp, TENSOR_PARALLEL)
        for name in ("max_seq_len", "max_num_tokens", "max_batch_size", "tokens_per_block"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, allowed: an integer >= 1")
        if not 0 < self.kv_fraction < 1:
            raise ConfigError(f"kv_fraction: got {self.kv_fraction}, allowed: 0 < kv_fraction < 1")

    @classmethod
    def load(cls, name: str, **changes: Any) -> EngineSpec:
        """Load a shipped engine preset by name, with some fields changed. Raises ConfigError for an unknown name."""
        known = sorted(path.stem for path in PRESETS.glob("*.toml"))
        _check("engine preset", name, known)
        values = tomllib.loads((PRESETS / f"{name}.toml").read_text())
        return cls(**{**values, **{key: value for key, value in changes.items() if value is not None}})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The shape of a model, with the field names of Hugging Face's config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool = False

    @classmethod
    def read(cls, folder: Path) -> ModelShape:
        """Read the shape from a folder's config.json. Raises ConfigError for a missing file or another architecture."""
        path = folder / "config.json"
        try:
            config = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        if ARCHITECTURE not in config.get("architectures", []):
            raise ConfigError(f"{path}: architectures: got {config.get('architectures')}, allowed: {ARCHITECTURE}")
        names = {field.name for field in fields(cls)}
        missing = sorted(names - {"tie_word_embeddings"} - set(config))
        if missing:
            raise ConfigError(f"{path} lacks {missing[0]}")
        return cls(**{name: value for name, value in config.items() if name in names})

    @staticmethod
    def stored_bytes(folder: Path) -> int:
        """Return the bytes per parameter in a folder's weights, by its config.json. Raises ConfigError for an unknown type."""
        path = folder / "config.json"
        config = json.loads(path.read_text())
        dtype = config.get("torch_dtype", config.get("dtype", "bfloat16"))  # transformers 5 writes dtype
        if dtype not in DTYPE_BYTES:
            raise ConfigError(f"{path}: torch_dtype: got {dtype!r}, allowed: {', '.join(DTYPE_BYTES)}")
        return DTYPE_BYTES[dtype]

    @property
    def head_size(self) -> int:
        """Elements of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def num_parameters(self) -> int:
        """Number of all parameters: attention with its biases, gated MLP, norms, embeddings."""
        kv_size = self.num_key_value_heads * self.head_size
        attention = 2 * self.hidden_size**2 + 2 * self.hidden_size * kv_size + self.hidden_size + 2 * kv_size
        layer = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        num_embeddings = 1 if self.tie_word_embeddings else 2
        return self.num_hidden_layers * layer + num_embeddings * self.vocab_size * self.hidden_size + self.hidden_size


# Qwen2.5-32B, of which s1-32B and s1.1-32B are fine-tunes: for plans made before anything is downloaded.
QWEN2_5_32B = ModelShape(
    hidden_size=5120,
    intermediate_size=27648,
    num_hidden_layers=64,
    num_attention_heads=40,
    num_key_value_heads=8,
    vocab_size=152064,
    max_position_embeddings=32768,
)


def _check(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}: got {value!r}, allowed: {', '.join(map(str, allowed))}")
