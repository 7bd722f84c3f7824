# SPDX-License-Identifier: Apache-2.0
"""Whether the engine lives: it is heard of, or a canary call for one token comes back. Knows no Triton."""

from __future__ import annotations

import asyncio
import itertools
import time

from budgetforce.engine.base import Engine, EngineCall

_ANY_ID = 1  # what a canary says is nobody's business


def cancel_check_period_s(num_requests: int) -> float:
    """How long to wait between two questions whether a client has gone.

    A question is a round trip between two processes, 0.2 ms of CPU: with many requests each is
    asked a little less often, but within a quarter of a second in any case.
    """
    return min(max(0.1, 0.0125 * num_requests), 0.25)


class EngineHealthMonitor:
    """Asks for one token when nothing was heard for ``period_s``, and waits as long for it.

    When it fails, the calls that run and have been silent are given up: each reply then sits the
    outage out, or ends. When it only does not come, the engine may be busy with a long prompt: then
    only calls that had begun to speak are.

    Attributes:
        engine_is_ready: what came of it last.
    """

    def __init__(self, engine: Engine, period_s: float) -> None:
        self.engine_is_ready = True
        self._engine = engine
        self._period_s = period_s
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Watch until cancelled."""
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
        except Exception as error:  # noqa: BLE001  # whatever it is: an engine that answers is another thing
            self.engine_is_ready = False
            self._engine.give_up_silent_calls(now - self._period_s, begun_only=isinstance(error, TimeoutError))

    async def _canary(self) -> bool:
        call = EngineCall(
            request_id=f"canary-{next(self._numbers)}",
            input_ids=(_ANY_ID,),
            max_new_tokens=1,
            stop_ids=frozenset({_ANY_ID}),
        )
        return any([delta.ids async for delta in self._engine.stream(call)])
