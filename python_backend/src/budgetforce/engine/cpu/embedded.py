# SPDX-License-Identifier: Apache-2.0
"""A CPU engine with the behaviour of NVIDIA's ``tensorrt_llm``: continuous batching, prefix reuse, its ending rules.

Independent of Triton. A single thread owns an ``EmbeddedEngine``: it submits, cancels and steps. A
``TokenPipeline`` computes: OpenVINO GenAI's, llama.cpp's or any other that works in steps.

A pipeline has a single mask per call: bad words for the whole call, or ``end_id`` for its first ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.engine.cpu.kv_blocks import ResidentBlocks
from budgetforce.engine.token_engine import EndDetector, KvUsage, ModelLimits, Progress, TokenCall, validate
from budgetforce.errors import EngineFailed, InvalidRequest


class TokenPipeline(Protocol):
    """Samples ids for many concurrent calls, step by step."""

    block_size: int
    num_blocks: int

    def may_add(self, key: int, call: TokenCall) -> bool:
        """Return whether the call may be added before the next step; if not, it may be after a few steps. Until the
        next step the pipeline remembers the calls it held back, and admits no call that would delay them.
        """
        ...

    def add(self, key: int, call: TokenCall) -> None:
        """Start a call. Raises RuntimeError if the library refuses it."""
        ...

    def step(self) -> dict[int, list[int]]:
        """Compute a step and return the new ids by key. Raises RuntimeError if the pipeline is broken."""
        ...

    def drop(self, key: int) -> None:
        """Drop a call; it is not computed after the next step."""
        ...

    def is_busy(self) -> bool:
        """Return whether a step has work to do, including freeing dropped calls."""
        ...

    def num_reused_ids(self, key: int) -> int | None:
        """Return how many ids of the prompt were found in the cache, known from the call's first id on; None = unknown."""
        ...


@dataclass(slots=True)
class _Live:
    call: TokenCall
    detector: EndDetector
    usage: KvUsage = field(default_factory=KvUsage)
    is_cancelled: bool = False


class EmbeddedEngine:
    """Implements ``TokenEngine`` on a pipeline; waiting calls start in order as KV blocks become free."""

    computes_in_step = True

    def __init__(self, build_pipeline: Callable[[], TokenPipeline], limits: ModelLimits) -> None:
        self.limits = limits
        self._build_pipeline = build_pipeline
        self._live: dict[int, _Live] = {}
        self._waiting: deque[tuple[int, _Live]] = deque()
        self._next_key = 0
        self._start_pipeline()

    def _start_pipeline(self) -> None:
        self._pipeline = self._build_pipeline()
        self._num_allocated = 0  # upper bound of the blocks that finished calls took from the pool
        self._resident = ResidentBlocks(block_size=self._pipeline.block_size, num_pool_blocks=self._pipeline.num_blocks)

    def submit(self, call: TokenCall) -> tuple[int, KvUsage]:
        self._validate(call)
        key, self._next_key = self._next_key, self._next_key + 1
        live = _Live(call, EndDetector(call))
        self._waiting.append((key, live))
        return key, live.usage

    def cancel(self, key: int) -> None:
        """Stop a call. A call in prefill runs on to its first id: if a call is dropped during prefill, OpenVINO leaves
        uncomputed blocks in the prefix cache, and a later call that finds them computes NaNs, which sample id 0.
        """
        self._waiting = deque(entry for entry in self._waiting if entry[0] != key)
        live = self._live.get(key)
        if live is None:
            return
        if live.detector.num_sampled:
            self._drop(key)
        else:
            live.is_cancelled = True

    def has_work(self) -> bool:
        return bool(self._live or self._waiting) or self._pipeline.is_busy()

    def step(self) -> list[Progress]:
        """Start the calls that fit, compute a step and return its progress. If the pipeline breaks, all its calls
        end with an error and a new pipeline is built.
        """
        refused = self._admit()
        try:
            sampled = self._pipeline.step()
        except Exception as error:  # noqa: BLE001  # the libraries' errors have no common base
            return refused + self._fail_all(EngineFailed.of(error))
        for key in [key for key in sampled if key in self._live and self._live[key].is_cancelled]:
            self._drop(key)
        return refused + [self._advance(key, ids) for key, ids in sampled.items() if key in self._live]

    def close(self) -> None:
        """Do nothing: the pipeline is freed with its last reference."""

    def _admit(self) -> list[Progress]:
        """Start the calls that fit, in order; only calls that the pipeline holds back for a moment are overtaken."""
        refused: list[Progress] = []
        held_back: list[tuple[int, _Live]] = []
        num_free = self._num_free_blocks()
        while self._waiting and (num_blocks := self._num_blocks(self._waiting[0][1].call)) <= num_free:
            key, live = self._waiting.popleft()
            if not self._pipeline.may_add(key, live.call):
                held_back.append((key, live))
            elif (error := self._start(key, live)) is not None:
                refused.append(Progress(key=key, finished=True, error=error))
            else:
                num_free -= num_blocks
        self._waiting.extendleft(reversed(held_back))
        return refused

    def _start(self, key: int, live: _Live) -> EngineFailed | None:
        """Add a call to the pipeline; return the error if it is refused."""
        live.usage.num_reused_blocks = self._resident.count(live.call.input_ids)
        try:
            self._pipeline.add(key, live.call)
        except RuntimeError as error:
            return EngineFailed.of(error)
        self._live[key] = live
        return None

    def _num_free_blocks(self) -> int:
        """Return the blocks left when every call has its maximum length; so no running call is ever evicted."""
        return self._pipeline.num_blocks - sum(self._num_blocks(live.call) for live in self._live.values())

    def _num_blocks(self, call: TokenCall) -> int:
        """Return the call's number of blocks at its maximum length."""
        return -(-(len(call.input_ids) + call.max_new_tokens) // self._pipeline.block_size) + 1  # +1: copy on write

    def _advance(self, key: int, ids: list[int]) -> Progress:
        live = self._live[key]
        if not live.detector.num_sampled:
            self._note_prefill(key, live)
        kept, finished = live.detector.take(ids)
        live.usage.num_total_blocks = -(-live.detector.context_len // self._pipeline.block_size)
        if finished:
            self._retire(key, live)
        return Progress(key=key, ids=kept, finished=finished)

    def _note_prefill(self, key: int, live: _Live) -> None:
        """Note that the prompt has been computed; the pipeline's count of reused ids replaces our own lower bound."""
        self._note_computed(live.call.input_ids)
        num_reused_ids = self._pipeline.num_reused_ids(key)
        if num_reused_ids is not None:
            live.usage.num_reused_blocks = num_reused_ids // self._pipeline.block_size

    def _note_computed(self, ids: Sequence[int]) -> None:
        self._resident.add(ids, is_evicting=self._num_allocated > self._num_free_blocks())

    def _drop(self, key: int) -> None:
        live = self._live.pop(key)
        self._pipeline.drop(key)
        # The next step may sample another id, and a block is copied on write.
        num_blocks = -(-(live.detector.context_len + 1) // self._pipeline.block_size) + 1
        self._num_allocated += num_blocks - live.usage.num_reused_blocks

    def _retire(self, key: int, live: _Live) -> None:
        self._drop(key)
        self._note_computed(live.detector.computed_ids())

    def _fail_all(self, failure: EngineFailed) -> list[Progress]:
        keys = [key for key, live in self._live.items() if not live.is_cancelled] + [key for key, _ in self._waiting]
        self._live.clear()
        self._waiting.clear()
        self._start_pipeline()
        return [Progress(key=key, finished=True, error=failure) for key in keys]

    def _validate(self, call: TokenCall) -> None:
        validate(call, self.limits)
        if self._num_blocks(call) > self._pipeline.num_blocks:
            pool = self._pipeline.num_blocks * self._pipeline.block_size
            most = max(0, pool - self._pipeline.block_size - len(call.input_ids))  # a block is kept for copy on write
            allowed = f"at most {most}, the rest of a KV cache of {pool} tokens behind this prompt"
            raise InvalidRequest("request_output_len", call.max_new_tokens, allowed)
        if call.sampling.bad_words and call.min_tokens:
            raise InvalidRequest("min_tokens", call.min_tokens, "0 when bad_words_list is given (this engine has a single mask)")
        if unknown := [token_id for token_id in call.masked_ids if not 0 <= token_id < self.limits.vocab_size]:
            field = "bad_words_list" if call.sampling.bad_words else "end_id"  # OpenVINO would write outside of the logits, and crash
            raise InvalidRequest(field, unknown[:5], f"ids from 0 to {self.limits.vocab_size - 1}")
