# SPDX-License-Identifier: Apache-2.0
"""An engine that says what it is told to: one script of ids a call. It keeps the rules of a real one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable

from budgetforce.engine.base import EngineCall, EngineDelta


class ScriptedEngine:
    """Answers each call with the next enqueued script.

    A script is cut as a real engine would cut it: behind the first stop id, and at
    ``max_new_tokens``. Ids that the call bans are skipped.

    Attributes:
        calls: every call so far.
        num_open: calls whose stream has not ended or been closed.
        fail_with: raised at the end of every call, or of those whose numbers ``failing`` holds.
        hanging: numbers of the calls that never end by themselves.
        ready: what it says of itself.
        given_up: of each ``give_up_silent_calls``, whether only those that had begun.
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
    """What a rule-abiding engine that wants to say ``script`` says in ``call``."""
    said: list[int] = []
    for token_id in script:
        if token_id in call.banned_ids:
            continue
        said.append(token_id)
        if token_id in call.stop_ids or len(said) == call.max_new_tokens:
            break
    return tuple(said)
