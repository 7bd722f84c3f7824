# SPDX-License-Identifier: Apache-2.0
"""A CPU engine that obeys the rules of NVIDIA's ``tensorrt_llm``: continuous batching, prefix reuse, its ending rules.

Knows no Triton. One thread owns an ``EmbeddedEngine``: it submits, cancels and steps. The
computing is a ``TokenPipeline``'s: OpenVINO GenAI's, or any other that can step.

Ending rules (TensorRT-LLM's, see engine/tensors.py): ``end_id`` ends a call and is not
returned; a stop word ends it and is returned; it may begin inside the prompt. ``min_tokens``
keeps off ``end_id`` alone. ``bad_words`` are never sampled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.engine.base import Sampling
from budgetforce.engine.kv_blocks import ResidentBlocks
from budgetforce.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What the loaded model can take: ``vocab_size`` rows, ``max_seq_len`` ids in and out together."""

    vocab_size: int
    max_seq_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedCall:
    """One call, as the tensors say it; validated by ``EmbeddedEngine.submit``.

    Attributes:
        end_id: ends the call without being returned.
        stop_words: id sequences that end the call and are returned.
        min_tokens: ids to sample before ``end_id`` may come.
    """

    input_ids: tuple[int, ...]
    max_new_tokens: int
    end_id: int | None = None
    stop_words: tuple[tuple[int, ...], ...] = ()
    min_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def masked_ids(self) -> frozenset[int]:
        """Ids that a pipeline must keep off for the first ``num_masked_steps`` ids."""
        bad = frozenset(word[0] for word in self.sampling.bad_words)
        return bad or (frozenset((self.end_id,)) if self.min_tokens and self.end_id is not None else bad)

    @property
    def num_masked_steps(self) -> int:
        return self.max_new_tokens if self.sampling.bad_words else min(self.min_tokens, self.max_new_tokens)

    @property
    def is_sampled(self) -> bool:
        """As in TensorRT-LLM: greedy unless top-k > 1 or a top-p asks for sampling."""
        if self.sampling.top_k == 1 or self.sampling.temperature == 0:
            return False
        return bool(self.sampling.top_k) or self.sampling.top_p is not None

    @property
    def single_stop_ids(self) -> frozenset[int]:
        """Ids that end the call by themselves: a pipeline may stop there of its own accord."""
        singles = {word[0] for word in self.stop_words if len(word) == 1}
        return frozenset(singles if self.end_id is None else singles | {self.end_id})


class TokenPipeline(Protocol):
    """Samples ids for many calls at once, one step at a time."""

    block_size: int
    num_blocks: int

    def add(self, key: int, call: EmbeddedCall) -> None: ...

    def step(self) -> dict[int, list[int]]:
        """Compute one step; the new ids by key. Raises RuntimeError when the pipeline is broken."""
        ...

    def drop(self, key: int) -> None:
        """Forget a call; it is not computed after the next step."""
        ...

    def is_busy(self) -> bool:
        """Whether a step has anything to do, be it to free dropped calls."""
        ...

    def num_reused_ids(self, key: int) -> int | None:
        """Ids of the prompt that were found in the cache, known from a call's first id on; None = it cannot say."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a step brought to one call: new ids, and whether and why it is over."""

    key: int
    ids: tuple[int, ...]
    finished: bool = False
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class KvUsage:
    """KV blocks of a call: found in the cache, and all that it occupied."""

    num_reused_blocks: int = 0
    num_total_blocks: int = 0


@dataclass(slots=True)
class _Live:
    call: EmbeddedCall
    usage: KvUsage = field(default_factory=KvUsage)
    sampled: list[int] = field(default_factory=list)
    stop_ids: frozenset[int] = frozenset()
    stop_sequences: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Stop words of one id apart: there may be thousands of them."""
        self.stop_ids = frozenset(word[0] for word in self.call.stop_words if len(word) == 1)
        self.stop_sequences = tuple(word for word in self.call.stop_words if len(word) > 1)


class EmbeddedEngine:
    """Runs calls on a pipeline; waiting calls start in order as KV blocks get free."""

    def __init__(self, build_pipeline: Callable[[], TokenPipeline], limits: ModelLimits) -> None:
        self.limits = limits
        self._build_pipeline = build_pipeline
        self._live: dict[int, _Live] = {}
        self._waiting: deque[tuple[int, _Live]] = deque()
        self._next_key = 0
        self._start_pipeline()

    def _start_pipeline(self) -> None:
        self._pipeline = self._build_pipeline()
        self._resident = ResidentBlocks(block_size=self._pipeline.block_size, num_pool_blocks=self._pipeline.num_blocks)

    def submit(self, call: EmbeddedCall) -> tuple[int, KvUsage]:
        """Queue a call; its key, and its KV usage, which is filled in as the call runs.

        Raises InvalidRequest naming the tensor that cannot be honoured.
        """
        self._validate(call)
        key, self._next_key = self._next_key, self._next_key + 1
        live = _Live(call)
        self._waiting.append((key, live))
        return key, live.usage

    def cancel(self, key: int) -> None:
        """Stop a call; nothing more comes of it. Unknown keys are calls that are over."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] != key)
        if self._live.pop(key, None) is not None:
            self._pipeline.drop(key)

    def has_work(self) -> bool:
        return bool(self._live or self._waiting) or self._pipeline.is_busy()

    def step(self) -> list[Progress]:
        """Start what fits, compute one step, and say what it brought. Never raises for a broken pipeline:
        all its calls end with an error and a new pipeline is built.
        """
        refused = self._admit()
        try:
            sampled = self._pipeline.step()
        except RuntimeError as error:
            return refused + self._fail_all(str(error).splitlines()[0])
        return refused + [self._advance(key, ids) for key, ids in sampled.items() if key in self._live]

    def _admit(self) -> list[Progress]:
        refused = []
        while self._waiting and self._fits(self._waiting[0][1].call):
            key, live = self._waiting.popleft()
            live.usage.num_reused_blocks = self._resident.count(live.call.input_ids)
            try:
                self._pipeline.add(key, live.call)
            except RuntimeError as error:
                refused.append(Progress(key=key, ids=(), finished=True, error=str(error).splitlines()[0]))
                continue
            self._live[key] = live
        return refused

    def _fits(self, call: EmbeddedCall) -> bool:
        """Whether the longest this call can grow fits beside the longest that all others can: nothing is ever evicted."""
        reserved = sum(self._num_blocks(live.call) for live in self._live.values())
        return reserved + self._num_blocks(call) <= self._pipeline.num_blocks

    def _num_blocks(self, call: EmbeddedCall) -> int:
        return -(-(len(call.input_ids) + call.max_new_tokens) // self._pipeline.block_size) + 1  # +1: copy on write

    def _advance(self, key: int, ids: list[int]) -> Progress:
        live = self._live[key]
        if not live.sampled:
            self._note_prefill(key, live)
        kept: list[int] = []
        finished = False
        for token_id in ids:
            if token_id == live.call.end_id:
                finished = True
                break
            kept.append(token_id)
            live.sampled.append(token_id)
            finished = self._is_at_end(live)
            if finished:
                break
        context_len = len(live.call.input_ids) + len(live.sampled)
        live.usage.num_total_blocks = -(-context_len // self._pipeline.block_size)
        if finished:
            self._retire(key, live)
        return Progress(key=key, ids=tuple(kept), finished=finished)

    def _note_prefill(self, key: int, live: _Live) -> None:
        """The prompt has been computed: what the pipeline says of the reuse goes before our own lower bound."""
        self._resident.add(live.call.input_ids)
        num_reused_ids = self._pipeline.num_reused_ids(key)
        if num_reused_ids is not None:
            live.usage.num_reused_blocks = num_reused_ids // self._pipeline.block_size

    def _is_at_end(self, live: _Live) -> bool:
        if len(live.sampled) >= live.call.max_new_tokens or live.sampled[-1] in live.stop_ids:
            return True
        return any(self._tail(live, len(word)) == word for word in live.stop_sequences)

    def _tail(self, live: _Live, length: int) -> tuple[int, ...]:
        if length <= len(live.sampled):
            return tuple(live.sampled[-length:])
        return (*live.call.input_ids, *live.sampled)[-length:]

    def _retire(self, key: int, live: _Live) -> None:
        del self._live[key]
        self._pipeline.drop(key)
        self._resident.add((*live.call.input_ids, *live.sampled)[:-1])  # the last id's KV was never computed

    def _fail_all(self, reason: str) -> list[Progress]:
        keys = [*self._live, *(key for key, _ in self._waiting)]
        self._live.clear()
        self._waiting.clear()
        self._start_pipeline()
        return [Progress(key=key, ids=(), finished=True, error=reason) for key in keys]

    def _validate(self, call: EmbeddedCall) -> None:
        limits = self.limits
        num_ids = len(call.input_ids)
        if not 1 <= num_ids < limits.max_seq_len:
            raise InvalidRequest("input_ids", f"{num_ids} ids", f"1 to {limits.max_seq_len - 1} ids")
        outside = [token_id for token_id in call.input_ids if not 0 <= token_id < limits.vocab_size]
        if outside:
            raise InvalidRequest("input_ids", outside[:5], f"ids from 0 to {limits.vocab_size - 1}")
        room = limits.max_seq_len - num_ids
        if not 1 <= call.max_new_tokens <= room:
            raise InvalidRequest("request_output_len", call.max_new_tokens, f"1 to {room} behind a prompt of {num_ids} ids")
        if self._num_blocks(call) > self._pipeline.num_blocks:
            pool = self._pipeline.num_blocks * self._pipeline.block_size
            raise InvalidRequest("request_output_len", call.max_new_tokens, f"what fits into a KV cache of {pool} tokens with the prompt")
        if any(len(word) != 1 for word in call.sampling.bad_words):
            raise InvalidRequest("bad_words_list", call.sampling.bad_words, "words of one id each (this engine cannot ban sequences)")
        if call.sampling.bad_words and call.min_tokens:
            raise InvalidRequest("min_tokens", call.min_tokens, "0 when bad_words_list is given (this engine has one mask)")
