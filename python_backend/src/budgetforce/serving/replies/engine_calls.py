# SPDX-License-Identifier: Apache-2.0
"""The engine calls of one sample: names, seeds, and what becomes of one that an outage cuts. Knows no Triton."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from budgetforce.core import BudgetForcer, Generate
from budgetforce.engine.base import Engine, EngineCall
from budgetforce.errors import EngineUnavailable, InvalidRequest
from budgetforce.serving.planning.engine_refusals import name_request_field
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.replies.result import RoundTrace

RETRY_PERIOD_S = 0.1


@dataclass(slots=True, kw_only=True)
class EngineCalls:
    """Makes them.

    Attributes:
        index: which of the request's samples it is.
        ready: see ``EngineCall``.
        max_outage_s: how long to wait for an engine that goes away when the request has ids already.
        prefix: calls are named after it, unique among all that run.
        num_calls: so far.
        begun: set when the request has ids, this sample's or another's: then there is something to lose.
    """

    engine: Engine
    plan: ReplyPlan
    index: int = 0
    ready: Callable[[], Awaitable[None]] | None = None
    max_outage_s: float = 0.0
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex)
    num_calls: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _gone_since: float | None = None

    async def stream_round(self, generate: Generate, forcer: BudgetForcer, trace: RoundTrace) -> AsyncGenerator[tuple[int, ...], None]:
        """The sampled ids of a round, as they come; each must have been given to ``forcer`` when the next are asked for.

        Terminators cannot be kept off for some ids only, so a round that must not begin with one is
        two calls: so many ids with the terminators banned, then the rest. A call that an outage cuts
        is continued from the ids that came. Raises what ``Engine.stream`` does.
        """
        num_ids, is_over = 0, False
        while not is_over:
            num_protected = max(generate.min_tokens - num_ids, 0)
            num_requested = num_protected or generate.max_new_tokens - num_ids
            call = self._call(generate, forcer.context_ids, num_requested, generate.stop_ids if num_protected else frozenset())
            try:
                async with aclosing(self._stream_call(call, trace)) as sampled:
                    async for ids in sampled:
                        num_ids += len(ids)
                        is_over = ids[-1] in generate.stop_ids or num_ids >= generate.max_new_tokens
                        yield ids
            except InvalidRequest as refusal:
                raise name_request_field(refusal, self.plan, generate.phase) from refusal
            except EngineUnavailable as error:
                if not is_over:
                    trace.num_outages += 1
                    await self._wait_for_engine(error)
            else:
                is_over = is_over or not num_protected or num_ids < generate.min_tokens

    async def _stream_call(self, call: EngineCall, trace: RoundTrace) -> AsyncGenerator[tuple[int, ...], None]:
        trace.num_engine_calls += 1
        async with aclosing(self.engine.stream(call)) as deltas:
            async for delta in deltas:
                if trace.num_engine_calls == 1 and delta.kv_reused_blocks is not None:
                    trace.kv_reused_blocks = delta.kv_reused_blocks
                if delta.ids:
                    self.begun.set()
                    self._gone_since = None
                    yield delta.ids

    def _call(self, generate: Generate, context: tuple[int, ...], num_requested: int, banned: frozenset[int]) -> EngineCall:
        sampling, number = self.plan.sampling[generate.phase], self.num_calls
        self.num_calls += 1
        return EngineCall(
            request_id=f"{self.prefix}-{number}",
            input_ids=context,
            max_new_tokens=num_requested,
            stop_ids=generate.stop_ids,
            banned_ids=self.plan.masked_ids | banned,
            sampling=replace(sampling, seed=call_seed(sampling.seed, self.index, number)),
            ready=self.ready,
        )

    async def _wait_for_engine(self, error: EngineUnavailable) -> None:
        """Wait until the engine is back. Raises ``error`` if it is gone for too long, or if there is nothing to
        be lost yet: whoever asked can as well ask again, or another server.
        """
        if not self.begun.is_set():
            raise error
        self._gone_since = self._gone_since or time.monotonic()
        while True:
            if time.monotonic() - self._gone_since >= self.max_outage_s:
                raise error
            await asyncio.sleep(RETRY_PERIOD_S)
            if await self.engine.is_ready():
                return


def call_seed(seed: int | None, sample: int, call: int) -> int | None:
    """The seed of a sample's ``call``-th engine call, of 63 bits: equal requests repeat, no two calls of one do.

    vLLM and TensorRT-LLM's LLM API keep a seed as int64 without a check, so a 64th bit would fail the call.
    """
    if seed is None:
        return None
    digest = hashlib.blake2b(f"{seed}/{sample}/{call}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
