# SPDX-License-Identifier: Apache-2.0
"""A base for fake engines that are written as generators of deltas."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from budgetforce.engine.base import EngineCall, EngineDelta, Take


class StreamedEngine:
    """Runs the calls that ``stream`` yields the deltas of. A call that is left or cancelled closes its generator."""

    async def run(self, call: EngineCall, take: Take) -> None:
        async with aclosing(self.stream(call)) as deltas:
            async for delta in deltas:
                if not take(delta):
                    return

    def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        raise NotImplementedError
