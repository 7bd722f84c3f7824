# SPDX-License-Identifier: Apache-2.0
"""What an engine takes, by arithmetic alone: GPU memory, disk, host memory, time, and how fast it can be at most.

Knows no GPU but by its figures, and has measured nothing: sizes follow from the model's shape, what does not
is an assumption or an estimate and stands below with its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from budgetforce.building.gpus import GB, GIB, Gpu
from budgetforce.building.spec import TENSOR_PARALLEL, EngineSpec, ModelShape
from budgetforce.errors import ConfigError

BF16_BYTES = 2
LINEAR_BYTES = {"bf16": 2.0, "fp8": 1.0, "int4-awq": 0.5 + 2 / 128}  # AWQ: half a byte, and a scale for each 128 weights
MIN_SM = {"bf16": 8.0, "fp8": 8.9, "int4-awq": 8.0}  # TensorRT-LLM's support matrix: Ampere and newer, fp8 from Ada on
NO_INT4_SM = (10, 11)  # trtllm-build refuses them there (tensorrt_llm/builder.py @008b2b8)
STORED_BYTES = 4  # s1-32B lies on the hub in float32 (https://github.com/simplescaling/s1/issues/104); s1.1-32B is taken to, too
# CUDA's context, NCCL, all-reduce and attention workspaces, sampling, what the driver keeps: an assumption. With the
# activations it is 4.5 GiB for the 32B model on two GPUs; estimates for that go from 2 GiB to 5 GB (4.7 GiB).
RUNTIME_BYTES = int(3.5 * GIB)
TYPICAL_TOKENS = 8192  # of a sequence that does not use up its budget
MIN_SEQ_LEN, SEQ_LEN_STEP = 8192, 1024  # a shorter engine is no remedy: s1 thinks in thousands of tokens
ACHIEVED = 0.69  # of the roofline: a 72B model on two H100 did 30.9 ms a token (tenstorrent/tt-inference-server #143), 21.3 at best
# Host memory of trtllm-build by the size of a rank's engine. NVIDIA's Command-R README: 176 GB for 70; TensorRT-LLM #2324: 40 for 19.
BUILD_HOST_FACTOR = 2.5
# Of quantising, beside the weights, by their size in bf16. TensorRT-LLM's Llama README: 70B in bf16, 140 GB, needs 210 GB on all
# GPUs together. quantize.py loads the weights in the type that they are stored in, whatever --dtype says (torch_dtype="auto" in
# tensorrt_llm/quantization/quantize_by_modelopt.py @585c756).
QUANTIZE_GPU_FACTOR = 0.5
DISK = (0.5 * GB, 2 * GB)  # a second, slow and fast
NETWORK = (0.125 * GB, 1.25 * GB)  # 1 and 10 Gbit/s
BUILD_S_PER_GB = (1.5, 12.0)  # Command-R's README: 107 s for 70 GB; several profiles and slow disks take longer
# Of 32B: about an hour for AWQ on two H100 (casper-hansen/AutoAWQ #701); an hour for 70B on eight A100 (hiyouga/LLaMA-Factory #3451).
QUANTIZE_S_PER_GPARAM = {"fp8": (20, 110), "int4-awq": (40, 165)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One step of the build. ``seconds`` is an estimate, from ... to."""

    name: str
    disk_bytes: int
    host_bytes: int
    seconds: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """The least time of a decode step, and what follows for all sequences together."""

    num_sequences: int
    context_tokens: int
    step_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.num_sequences / self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An engine on GPUs.

    Attributes:
        stored_bytes: of a parameter in the weights' files.
    """

    spec: EngineSpec
    shape: ModelShape
    gpu: Gpu
    stored_bytes: int = STORED_BYTES

    @property
    def weights_bytes(self) -> int:
        """Of a GPU: its share of the linear layers and of the output embedding, and all of the input embedding (it is not split)."""
        return int((self._linear_bytes + self._embedding_bytes) / self.spec.tp + self._embedding_bytes)

    @property
    def overhead_bytes(self) -> int:
        """Of a GPU beside weights and KV cache. Activations: the residual stream, norm and attention, and an MLP's three tensors."""
        shape, kv_size = self.shape, self.shape.num_key_value_heads * self.shape.head_size
        split = 3 * shape.intermediate_size + shape.hidden_size + 2 * kv_size
        per_token = BF16_BYTES * (4 * shape.hidden_size + split / self.spec.tp)
        return RUNTIME_BYTES + int(self.spec.max_num_tokens * per_token)

    @property
    def kv_token_bytes(self) -> int:
        """Of a GPU: keys and values, in bf16 whatever the weights are."""
        heads = self.shape.num_key_value_heads // self.spec.tp
        return 2 * self.shape.num_hidden_layers * heads * self.shape.head_size * BF16_BYTES

    @property
    def kv_pool_bytes(self) -> int:
        """Of a GPU; TensorRT-LLM takes a fraction of what is free once the engine is loaded."""
        free = self.gpu.memory_bytes - self.weights_bytes - self.overhead_bytes
        return max(0, int(free * self.spec.kv_fraction))

    @property
    def kv_tokens(self) -> int:
        """In whole blocks."""
        block = self.spec.tokens_per_block
        return self.kv_pool_bytes // (self.kv_token_bytes * block) * block

    @property
    def fits(self) -> bool:
        """Whether one sequence of full length does."""
        return self.kv_tokens >= self.spec.max_seq_len

    @property
    def quantize_gpu_bytes(self) -> int:
        """Of all GPUs together, while the weights are quantised, in the type that they are stored in; 0 if they are not."""
        if self.spec.variant == "bf16":
            return 0
        return self.shape.num_parameters * self.stored_bytes + int(self._bf16_bytes * QUANTIZE_GPU_FACTOR)

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """Of the build, and the start of the server."""
        source, engine = self.shape.num_parameters * self.stored_bytes, self.weights_bytes * self.spec.tp
        host = int(engine * BUILD_HOST_FACTOR)
        build_s = _times(BUILD_S_PER_GB, self.weights_bytes / GB)  # the ranks are built at the same time
        return (
            StageCost(name="download", disk_bytes=source, host_bytes=GB, seconds=_moved(source, NETWORK)),
            self._conversion(source, engine),
            StageCost(name="build", disk_bytes=engine, host_bytes=host, seconds=build_s),
            StageCost(name="start", disk_bytes=0, host_bytes=self.weights_bytes, seconds=_moved(engine, DISK)),
        )

    def decode(self, num_sequences: int, context_tokens: int) -> Decode | None:
        """The memory's limit, all-reduces left out; None where the bandwidth is not known or the engine has no room for that."""
        is_within = num_sequences <= self.spec.max_batch_size and context_tokens <= self.spec.max_seq_len
        if not self.gpu.bandwidth or not is_within or num_sequences * context_tokens > self.kv_tokens:
            return None
        step_s = self.step_weights_s + num_sequences * context_tokens * self.step_token_s
        return Decode(num_sequences=num_sequences, context_tokens=context_tokens, step_s=step_s)

    @property
    def step_weights_s(self) -> float:
        """To read the weights, on a GPU whose bandwidth is known; of the input embedding only rows are read."""
        return (self._linear_bytes + self._embedding_bytes) / (self.spec.tp * self.gpu.bandwidth)

    @property
    def step_token_s(self) -> float:
        """To read one token of the KV cache, on such a GPU."""
        return self.kv_token_bytes / self.gpu.bandwidth

    def changed(self, **changes: Any) -> Plan:
        """The same with another spec."""
        return replace(self, spec=replace(self.spec, **changes))

    def _conversion(self, source: int, engine: int) -> StageCost:
        """By rank, in memory, all ranks at the same time; quantising needs the whole model and calibrates."""
        if self.spec.variant == "bf16":
            return StageCost(name="convert", disk_bytes=engine, host_bytes=engine + 5 * GB, seconds=_moved(source + engine, DISK))
        seconds = _times(QUANTIZE_S_PER_GPARAM[self.spec.variant], self.shape.num_parameters / 1e9)
        return StageCost(name="quantise", disk_bytes=engine, host_bytes=source, seconds=seconds)

    @property
    def _embedding_bytes(self) -> int:
        """Of one of the two; neither is quantised."""
        return self.shape.vocab_size * self.shape.hidden_size * BF16_BYTES

    @property
    def _linear_bytes(self) -> float:
        num_embeddings = 1 if self.shape.tie_word_embeddings else 2
        num_linear = self.shape.num_parameters - num_embeddings * self.shape.vocab_size * self.shape.hidden_size
        return num_linear * LINEAR_BYTES[self.spec.variant]

    @property
    def _bf16_bytes(self) -> int:
        return self.shape.num_parameters * BF16_BYTES


def plan(spec: EngineSpec, shape: ModelShape, gpu: Gpu, stored_bytes: int = STORED_BYTES) -> Plan:
    """A plan that can be built, whether or not it fits. Raises ConfigError for one that cannot."""
    made = Plan(spec=spec, shape=shape, gpu=gpu, stored_bytes=stored_bytes)
    if gpu.sm and gpu.sm < MIN_SM[spec.variant]:
        possible = ", ".join(name for name, sm in MIN_SM.items() if gpu.sm >= sm) or "none"
        raise ConfigError(f"variant: got {spec.variant}, which needs SM {MIN_SM[spec.variant]}, allowed on {gpu.name}: {possible}")
    if spec.variant == "int4-awq" and int(gpu.sm) in NO_INT4_SM:
        raise ConfigError(f"variant: trtllm-build takes no INT4 weights on {gpu.name} (SM {gpu.sm}): use fp8 or bf16")
    if spec.max_seq_len > shape.max_position_embeddings:
        raise ConfigError(f"max_seq_len: got {spec.max_seq_len}, allowed: up to {shape.max_position_embeddings}, the model's positions")
    for name in ("num_attention_heads", "num_key_value_heads"):
        if getattr(shape, name) % spec.tp:
            raise ConfigError(f"tp: got {spec.tp}, allowed: what divides the model's {getattr(shape, name)} {name}")
    return made


def ways_out(refused: Plan) -> Iterator[Plan]:
    """Plans that fit where this one does not, one change each, the smallest first; if none does, two changes."""
    found = list(_that_fit(refused, [{"max_seq_len": _longest(refused)}, *_variants(refused), *_more_gpus(refused)]))
    both = [variant | more for more in _more_gpus(refused) for variant in _variants(refused)]
    yield from found or list(_that_fit(refused, both))[:1]


def _longest(refused: Plan) -> int:
    return max(MIN_SEQ_LEN, refused.kv_tokens // SEQ_LEN_STEP * SEQ_LEN_STEP)


def _variants(refused: Plan) -> list[dict[str, Any]]:
    order = list(LINEAR_BYTES)
    return [{"variant": name} for name in order[order.index(refused.spec.variant) + 1 :]]


def _more_gpus(refused: Plan) -> list[dict[str, Any]]:
    return [{"tp": tp} for tp in TENSOR_PARALLEL if tp > refused.spec.tp]


def _that_fit(refused: Plan, changes: list[dict[str, Any]]) -> Iterator[Plan]:
    for change in changes:
        changed = refused.changed(**change)
        try:
            plan(changed.spec, changed.shape, changed.gpu)
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
