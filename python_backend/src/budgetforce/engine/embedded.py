# SPDX-License-Identifier: Apache-2.0
"""A CPU engine that obeys the rules of NVIDIA's ``tensorrt_llm``: continuous batching, prefix reuse, its ending rules.

Knows no Triton. One thread owns an ``EmbeddedEngine``: it submits, cancels and steps. The
computing is a ``TokenPipeline``'s: OpenVINO GenAI's, or any other that can step.

A pipeline has one mask for a call: bad words for the whole of it, or ``end_id`` for its first ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.engine.kv_blocks import ResidentBlocks
from budgetforce.engine.token_engine import EndDetector, KvUsage, ModelLimits, Progress, TokenCall, validate
from budgetforce.errors import EngineFailed, InvalidRequest


class TokenPipeline(Protocol):
    """Samples ids for many calls at once, one step at a time."""

    block_size: int
    num_blocks: int

    def may_add(self, key: int, call: TokenCall) -> bool:
        """Whether the call may be added before the next step; if not, it may be after a few steps. Until the
        next step the pipeline remembers whom it held back, and lets no call pass that would make it wait longer.
        """
        ...

    def add(self, key: int, call: TokenCall) -> None: ...

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


@dataclass(slots=True)
class _Live:
    call: TokenCall
    detector: EndDetector
    usage: KvUsage = field(default_factory=KvUsage)
    is_cancelled: bool = False


class EmbeddedEngine:
    """Runs calls on a pipeline; waiting calls start in order as KV blocks get free. See ``TokenEngine``."""

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
        self._num_allocated = 0  # blocks that ended calls took from the pool, at most
        self._resident = ResidentBlocks(block_size=self._pipeline.block_size, num_pool_blocks=self._pipeline.num_blocks)

    def submit(self, call: TokenCall) -> tuple[int, KvUsage]:
        self._validate(call)
        key, self._next_key = self._next_key, self._next_key + 1
        live = _Live(call, EndDetector(call))
        self._waiting.append((key, live))
        return key, live.usage

    def cancel(self, key: int) -> None:
        """A call whose prompt is being computed goes on up to its first id: OpenVINO leaves blocks in the prefix cache
        that were not computed, when a call is dropped in the middle, and who finds them there gets NaNs, which is id 0.
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
        """Start what fits, compute one step, and say what it brought. When the pipeline breaks, all its calls
        end with an error and a new one is built.
        """
        refused = self._admit()
        try:
            sampled = self._pipeline.step()
        except RuntimeError as error:
            return refused + self._fail_all(_failure(error))
        for key in [key for key in sampled if key in self._live and self._live[key].is_cancelled]:
            self._drop(key)
        return refused + [self._advance(key, ids) for key, ids in sampled.items() if key in self._live]

    def close(self) -> None:
        """The pipeline goes with its last reference."""

    def _admit(self) -> list[Progress]:
        """Start what fits, in order; only a call that the pipeline holds back for a moment is overtaken."""
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
        """Give a call to the pipeline; the error if it is refused."""
        live.usage.num_reused_blocks = self._resident.count(live.call.input_ids)
        try:
            self._pipeline.add(key, live.call)
        except RuntimeError as error:
            return _failure(error)
        self._live[key] = live
        return None

    def _num_free_blocks(self) -> int:
        """Blocks that are left when every call has grown as long as it can: no running call is ever evicted."""
        return self._pipeline.num_blocks - sum(self._num_blocks(live.call) for live in self._live.values())

    def _num_blocks(self, call: TokenCall) -> int:
        """Blocks of the call when it has grown as long as it can."""
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
        """The prompt has been computed: what the pipeline says of the reuse goes before our own lower bound."""
        self._note_computed(live.call.input_ids)
        num_reused_ids = self._pipeline.num_reused_ids(key)
        if num_reused_ids is not None:
            live.usage.num_reused_blocks = num_reused_ids // self._pipeline.block_size

    def _note_computed(self, ids: Sequence[int]) -> None:
        self._resident.add(ids, is_evicting=self._num_allocated > self._num_free_blocks())

    def _drop(self, key: int) -> None:
        live = self._live.pop(key)
        self._pipeline.drop(key)
        # One more id may come in the next step, and one block is copied on write.
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
            raise InvalidRequest("request_output_len", call.max_new_tokens, f"what fits into a KV cache of {pool} tokens with the prompt")
        if call.sampling.bad_words and call.min_tokens:
            raise InvalidRequest("min_tokens", call.min_tokens, "0 when bad_words_list is given (this engine has one mask)")


def _failure(error: RuntimeError) -> EngineFailed:
    return EngineFailed(str(error).splitlines()[0])
