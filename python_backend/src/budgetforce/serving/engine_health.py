# SPDX-License-Identifier: Apache-2.0
"""Monitors whether the engine answers: tokens arrive, or the token of a canary call does. Independent of Triton."""

from __future__ import annotations

import asyncio
import itertools
import time

from budgetforce.engine.base import Engine, EngineCall, EngineDelta

_ANY_ID = 1  # the token that the canary generates does not matter


def cancel_check_period_s(num_requests: int) -> float:
    """Return the seconds between two checks whether a request's client has gone.

    A check is a round trip between two processes, 0.2 ms of CPU. With many requests each is checked less often, but always
    within a quarter of a second.
    """
    return min(max(0.1, 0.0125 * num_requests), 0.25)


class EngineHealthMonitor:
    """Sends a canary call for a single token after ``period_s`` without tokens, and waits for it as long.

    If the canary fails, calls that have been silent are given up: their replies then wait for the engine or end. If the canary
    merely times out, the engine may be prefilling a long prompt: only calls that have already produced tokens are given up.

    Attributes:
        engine_is_ready: whether the engine answered at the last check.
    """

    def __init__(self, engine: Engine, period_s: float) -> None:
        self.engine_is_ready = True
        self._engine = engine
        self._period_s = period_s
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Check every ``period_s`` until cancelled."""
        while True:
            await asyncio.sleep(self._period_s)
            await self._check()

    async def _check(self) -> None:
        now = time.monotonic()
        if now - self._engine.last_ids_at < self._period_s:
            self.engine_is_ready = True
            return
        try:
            async with asyncio.timeout(self._period_s):
                self.engine_is_ready = await self._canary()
        except Exception as error:  # noqa: BLE001  # whatever it is, the engine did not answer
            self.engine_is_ready = False
            self._engine.give_up_silent_calls(now - self._period_s, begun_only=isinstance(error, TimeoutError))

    async def _canary(self) -> bool:
        call = EngineCall(
            request_id=f"canary-{next(self._numbers)}",
            input_ids=(_ANY_ID,),
            max_new_tokens=1,
            stop_ids=frozenset({_ANY_ID}),
        )
        ids: list[int] = []

        def take(delta: EngineDelta) -> bool:
            ids.extend(delta.ids)
            return True

        await self._engine.run(call, take)
        return bool(ids)
