# SPDX-License-Identifier: Apache-2.0
"""Compute the needs of an engine: GPU memory, disk, host memory, time, and an upper bound of its speed.

Nothing here was measured: sizes follow from the model's shape; everything else is an assumption or an estimate, listed
below with its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from budgetforce.building.gpus import GB, GIB, Gpu
from budgetforce.building.spec import TENSOR_PARALLEL, EngineSpec, ModelShape
from budgetforce.errors import ConfigError

BF16_BYTES = 2
LINEAR_BYTES = {"bf16": 2.0, "fp8": 1.0, "int4-awq": 0.5 + 2 / 128}  # AWQ: half a byte, and one scale per 128 weights
MIN_SM = {"bf16": 8.0, "fp8": 8.9, "int4-awq": 8.0}  # TensorRT-LLM's support matrix: Ampere and newer, fp8 from Ada on
NO_INT4_SM = (10, 11)  # trtllm-build rejects INT4 weights there (tensorrt_llm/builder.py @008b2b8)
STORED_BYTES = 4  # s1-32B lies on the hub in float32 (https://github.com/simplescaling/s1/issues/104); assumed of s1.1-32B, too
# CUDA's context, NCCL, all-reduce and attention workspaces, sampling, the driver's own: an assumption. With the
# activations the sum is 4.5 GiB for the 32B model on two GPUs; estimates for that go from 2 GiB to 5 GB (4.7 GiB).
RUNTIME_BYTES = int(3.5 * GIB)
TYPICAL_TOKENS = 8192  # length of a sequence that does not use up its budget
MIN_SEQ_LEN, SEQ_LEN_STEP = 8192, 1024  # shorter engines are not suggested: s1 thinks in thousands of tokens
# Fraction of the roofline: a 72B model on two H100 took 30.9 ms a token (tenstorrent/tt-inference-server #143), 21.3 at best.
ACHIEVED = 0.69
# Host memory of trtllm-build relative to a rank's engine. NVIDIA's Command-R README: 176 GB for 70; TensorRT-LLM #2324: 40 for 19.
BUILD_HOST_FACTOR = 2.5
# GPU memory of quantising beside the weights, relative to their size in bf16. TensorRT-LLM's Llama README: 70B in bf16,
# 140 GB, needs 210 GB on all GPUs together. quantize.py loads the weights in the type that they are stored in, whatever
# --dtype says (torch_dtype="auto" in tensorrt_llm/quantization/quantize_by_modelopt.py @585c756).
QUANTIZE_GPU_FACTOR = 0.5
DISK = (0.5 * GB, 2 * GB)  # bytes a second, slow and fast
NETWORK = (0.125 * GB, 1.25 * GB)  # 1 and 10 Gbit/s
BUILD_S_PER_GB = (1.5, 12.0)  # Command-R's README: 107 s for 70 GB; several profiles and slow disks take longer
# For 32B: about an hour for AWQ on two H100 (casper-hansen/AutoAWQ #701); an hour for 70B on eight A100 (hiyouga/LLaMA-Factory #3451).
QUANTIZE_S_PER_GPARAM = {"fp8": (20, 110), "int4-awq": (40, 165)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """The cost of one step of the build; ``seconds`` is an estimated range."""

    name: str
    disk_bytes: int
    host_bytes: int
    seconds: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """A decode step of a batch: its least time, and the resulting rate of all sequences together."""

    num_sequences: int
    context_tokens: int
    step_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.num_sequences / self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """An engine on GPUs of one kind, with everything that follows from its spec.

    Attributes:
        stored_bytes: bytes per parameter in the weights' files.
    """

    spec: EngineSpec
    shape: ModelShape
    gpu: Gpu
    stored_bytes: int = STORED_BYTES

    @property
    def weights_bytes(self) -> int:
        """Weights on each GPU: its share of the linear layers and of the output embedding, and the whole input embedding (not split)."""
        return int((self._linear_bytes + self._embedding_bytes) / self.spec.tp + self._embedding_bytes)

    @property
    def overhead_bytes(self) -> int:
        """Memory of each GPU beside weights and KV cache. Activations: residual stream, norm and attention, and an MLP's three tensors."""
        shape, kv_size = self.shape, self.shape.num_key_value_heads * self.shape.head_size
        split = 3 * shape.intermediate_size + shape.hidden_size + 2 * kv_size
        per_token = BF16_BYTES * (4 * shape.hidden_size + split / self.spec.tp)
        return RUNTIME_BYTES + int(self.spec.max_num_tokens * per_token)

    @property
    def kv_token_bytes(self) -> int:
        """KV cache per token on each GPU: keys and values, always in bf16."""
        heads = self.shape.num_key_value_heads // self.spec.tp
        return 2 * self.shape.num_hidden_layers * heads * self.shape.head_size * BF16_BYTES

    @property
    def kv_pool_bytes(self) -> int:
        """KV cache of each GPU: a fraction of the memory that is free once TensorRT-LLM has loaded the engine."""
        free = self.gpu.memory_bytes - self.weights_bytes - self.overhead_bytes
        return max(0, int(free * self.spec.kv_fraction))

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds, in whole blocks."""
        block = self.spec.tokens_per_block
        return self.kv_pool_bytes // (self.kv_token_bytes * block) * block

    @property
    def fits(self) -> bool:
        """Whether the KV cache holds one sequence of full length."""
        return self.kv_tokens >= self.spec.max_seq_len

    @property
    def quantize_gpu_bytes(self) -> int:
        """Memory of all GPUs together for quantising, with the weights in the type they are stored in; 0 for bf16."""
        if self.spec.variant == "bf16":
            return 0
        return self.shape.num_parameters * self.stored_bytes + int(self._bf16_bytes * QUANTIZE_GPU_FACTOR)

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """Costs of the build's steps and of the server's start."""
        source, engine = self.shape.num_parameters * self.stored_bytes, self.weights_bytes * self.spec.tp
        host = int(engine * BUILD_HOST_FACTOR)
        build_s = _times(BUILD_S_PER_GB, self.weights_bytes / GB)  # ranks are built in parallel
        return (
            StageCost(name="download", disk_bytes=source, host_bytes=GB, seconds=_moved(source, NETWORK)),
            self._conversion(source, engine),
            StageCost(name="build", disk_bytes=engine, host_bytes=host, seconds=build_s),
            StageCost(name="start", disk_bytes=0, host_bytes=self.weights_bytes, seconds=_moved(engine, DISK)),
        )

    def decode(self, num_sequences: int, context_tokens: int) -> Decode | None:
        """Return the decode step by memory bandwidth, without all-reduces; None if the bandwidth is unknown or the batch does not fit."""
        is_within = num_sequences <= self.spec.max_batch_size and context_tokens <= self.spec.max_seq_len
        if not self.gpu.bandwidth or not is_within or num_sequences * context_tokens > self.kv_tokens:
            return None
        step_s = self.step_weights_s + num_sequences * context_tokens * self.step_token_s
        return Decode(num_sequences=num_sequences, context_tokens=context_tokens, step_s=step_s)

    @property
    def step_weights_s(self) -> float:
        """Seconds to read the weights once, if the bandwidth is known; of the input embedding only rows are read."""
        return (self._linear_bytes + self._embedding_bytes) / (self.spec.tp * self.gpu.bandwidth)

    @property
    def step_token_s(self) -> float:
        """Seconds to read one token of the KV cache, if the bandwidth is known."""
        return self.kv_token_bytes / self.gpu.bandwidth

    def changed(self, **changes: Any) -> EnginePlan:
        """Return this plan with some fields of the spec changed."""
        return replace(self, spec=replace(self.spec, **changes))

    def _conversion(self, source: int, engine: int) -> StageCost:
        """Return the cost of the conversion. bf16: all ranks in parallel, in memory. Quantising loads the whole model and calibrates."""
        if self.spec.variant == "bf16":
            return StageCost(name="convert", disk_bytes=engine, host_bytes=engine + 5 * GB, seconds=_moved(source + engine, DISK))
        seconds = _times(QUANTIZE_S_PER_GPARAM[self.spec.variant], self.shape.num_parameters / 1e9)
        return StageCost(name="quantise", disk_bytes=engine, host_bytes=source, seconds=seconds)

    @property
    def _embedding_bytes(self) -> int:
        """Size of one embedding, input or output; neither is quantised."""
        return self.shape.vocab_size * self.shape.hidden_size * BF16_BYTES

    @property
    def _linear_bytes(self) -> float:
        num_embeddings = 1 if self.shape.tie_word_embeddings else 2
        num_linear = self.shape.num_parameters - num_embeddings * self.shape.vocab_size * self.shape.hidden_size
        return num_linear * LINEAR_BYTES[self.spec.variant]

    @property
    def _bf16_bytes(self) -> int:
        return self.shape.num_parameters * BF16_BYTES


def plan_engine(spec: EngineSpec, shape: ModelShape, gpu: Gpu, stored_bytes: int = STORED_BYTES) -> EnginePlan:
    """Return the plan of an engine, whether or not it fits. Raises ConfigError for an engine that cannot be built."""
    made = EnginePlan(spec=spec, shape=shape, gpu=gpu, stored_bytes=stored_bytes)
    if gpu.sm and gpu.sm < MIN_SM[spec.variant]:
        possible = ", ".join(name for name, sm in MIN_SM.items() if gpu.sm >= sm) or "none"
        raise ConfigError(f"variant: got {spec.variant}, which needs SM {MIN_SM[spec.variant]}, allowed on {gpu.name}: {possible}")
    if spec.variant == "int4-awq" and int(gpu.sm) in NO_INT4_SM:
        raise ConfigError(f"variant: trtllm-build takes no INT4 weights on {gpu.name} (SM {gpu.sm}): use fp8 or bf16")
    if spec.max_seq_len > shape.max_position_embeddings:
        raise ConfigError(f"max_seq_len: got {spec.max_seq_len}, allowed: up to {shape.max_position_embeddings}, the model's positions")
    for name in ("num_attention_heads", "num_key_value_heads"):
        if getattr(shape, name) % spec.tp:
            raise ConfigError(f"tp: got {spec.tp}, allowed: divisors of the model's {getattr(shape, name)} {name}")
    return made


def suggest_fitting_plans(refused: EnginePlan) -> Iterator[EnginePlan]:
    """Yield plans that fit in place of a refused plan: a single change each, smallest first; if none fits, a plan with two changes."""
    found = list(_fitting(refused, [{"max_seq_len": _longest(refused)}, *_variants(refused), *_more_gpus(refused)]))
    both = [variant | more for more in _more_gpus(refused) for variant in _variants(refused)]
    yield from found or list(_fitting(refused, both))[:1]


def _longest(refused: EnginePlan) -> int:
    return max(MIN_SEQ_LEN, refused.kv_tokens // SEQ_LEN_STEP * SEQ_LEN_STEP)


def _variants(refused: EnginePlan) -> list[dict[str, Any]]:
    order = list(LINEAR_BYTES)
    return [{"variant": name} for name in order[order.index(refused.spec.variant) + 1 :]]


def _more_gpus(refused: EnginePlan) -> list[dict[str, Any]]:
    return [{"tp": tp} for tp in TENSOR_PARALLEL if tp > refused.spec.tp]


def _fitting(refused: EnginePlan, changes: list[dict[str, Any]]) -> Iterator[EnginePlan]:
    for change in changes:
        changed = refused.changed(**change)
        try:
            plan_engine(changed.spec, changed.shape, changed.gpu)
        except ConfigError:
            continue
        if changed.fits:
            yield changed


def _moved(num_bytes: float, speeds: tuple[float, float]) -> tuple[float, float]:
    slow, fast = speeds
    return num_bytes / fast, num_bytes / slow


def _times(rates: tuple[float, float], amount: float) -> tuple[float, float]:
    low, high = rates
    return low * amount, high * amount
