# SPDX-License-Identifier: Apache-2.0
"""A fake engine that samples a script of ids in each call, by the rules of a real engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable

from streamed_engine import StreamedEngine

from budgetforce.engine.base import EngineCall, EngineDelta


class ScriptedEngine(StreamedEngine):
    """Answers each call with the next enqueued script.

    A script is cut as a real engine would cut it: after the first stop id, and at
    ``max_new_tokens``. Ids that the call bans are skipped.

    Attributes:
        calls: all calls so far.
        num_open: number of calls that have neither ended nor been left.
        fail_with: raised at the end of every call, or of the calls with the numbers in ``failing``.
        hanging: numbers of the calls that never end by themselves.
        ready: the result of ``is_ready``.
        keeps_min_tokens: whether a call's ``min_tokens`` are kept: stop ids among its first ids are skipped.
        given_up: ``begun_only`` of each call of ``give_up_silent_calls``.
    """

    def __init__(self, *scripts: Iterable[int], burst: int = 1, kv_reused_blocks: int | None = None) -> None:
        self.calls: list[EngineCall] = []
        self.num_open = 0
        self._scripts = deque(tuple(script) for script in scripts)
        self._burst = burst
        self._kv_reused_blocks = kv_reused_blocks
        self.fail_with: Exception | None = None
        self.failing: set[int] | None = None
        self.hanging: set[int] = set()
        self.last_ids_at = 0.0
        self.ready = True
        self.keeps_min_tokens = False
        self.given_up: list[bool] = []

    async def is_ready(self) -> bool:
        return self.ready

    def give_up_silent_calls(self, since: float, *, begun_only: bool) -> None:
        self.given_up.append(begun_only)

    async def close(self) -> None:
        pass

    def enqueue(self, *scripts: Iterable[int]) -> None:
        self._scripts.extend(tuple(script) for script in scripts)

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        number = len(self.calls)
        self.calls.append(call)
        self.num_open += 1
        try:
            ids = scripted_ids(self._scripts.popleft() if self._scripts else (), call)
            for start in range(0, len(ids), self._burst):
                yield EngineDelta(ids=ids[start : start + self._burst], kv_reused_blocks=self._kv_reused_blocks)
            if number in self.hanging:
                await asyncio.Event().wait()
            if self.fail_with is not None and (self.failing is None or number in self.failing):
                raise self.fail_with
        finally:
            self.num_open -= 1


def scripted_ids(script: Iterable[int], call: EngineCall) -> tuple[int, ...]:
    """Return the ids of ``script`` that an engine samples in ``call`` by the rules."""
    sampled: list[int] = []
    for token_id in script:
        if token_id in call.banned_ids or (token_id in call.stop_ids and len(sampled) < call.min_tokens):
            continue
        sampled.append(token_id)
        if token_id in call.stop_ids or len(sampled) == call.max_new_tokens:
            break
    return tuple(sampled)
