# SPDX-License-Identifier: Apache-2.0
"""Makes the engine calls of a sample: their ids, their seeds, and their continuation after an outage. Independent of Triton."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace

from budgetforce.core import BudgetForcer, Generate
from budgetforce.engine.base import Engine, EngineCall
from budgetforce.errors import BudgetForceError, EngineUnavailable, InvalidRequest
from budgetforce.serving.planning.engine_refusals import name_request_field
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.replies.result import RoundTrace

RETRY_PERIOD_S = 0.1


@dataclass(slots=True, kw_only=True)
class EngineCalls:
    """The engine calls of a sample.

    Attributes:
        index: which of the request's samples it is.
        ready: see ``EngineCall``.
        max_outage_s: how long to wait for an engine that disappears when the request already has ids.
        prefix: beginning of the calls' ids, unique among all running samples.
        num_calls: calls so far.
        results: ended calls: "done", an error's code, or "cut" for a call that was closed early.
        begun: set when the request has ids, of this sample or another: from then on an outage would lose something.
    """

    engine: Engine
    plan: ReplyPlan
    index: int = 0
    ready: Callable[[], asyncio.Future[None] | None] | None = None
    max_outage_s: float = 0.0
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex)
    num_calls: int = 0
    results: Counter[str] = field(default_factory=Counter)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _gone_since: float | None = None

    async def stream_round(self, generate: Generate, forcer: BudgetForcer, trace: RoundTrace) -> AsyncGenerator[tuple[int, ...], None]:
        """Yield the sampled ids of a round as they come. The caller must pass them to ``forcer`` before it asks for the next.

        A call that an outage cuts is continued from the ids that came. Raises the errors of ``Engine.stream``.
        """
        num_ids, is_over = 0, False
        while not is_over:
            call = replace(self._next_call(generate, forcer.context_ids, num_ids), traceparent=trace.traceparent)
            num_expected = num_ids + call.max_new_tokens
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
                is_over = is_over or num_ids < num_expected

    async def _stream_call(self, call: EngineCall, trace: RoundTrace) -> AsyncGenerator[tuple[int, ...], None]:
        trace.num_engine_calls += 1
        with self._counted():
            async with aclosing(self.engine.stream(call)) as deltas:
                async for delta in deltas:
                    if trace.num_engine_calls == 1 and delta.kv_reused_blocks is not None:
                        trace.kv_reused_blocks = delta.kv_reused_blocks
                    if delta.ids:
                        self.begun.set()
                        self._gone_since = None
                        yield delta.ids

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the result of the engine call inside this context."""
        result = "cut"
        try:
            yield
            result = "done"
        except BudgetForceError as error:
            result = error.code
            raise
        except Exception:
            result = BudgetForceError.code
            raise
        finally:
            self.results[result] += 1

    def _next_call(self, generate: Generate, context: tuple[int, ...], num_ids: int) -> EngineCall:
        """Return the call that continues a round behind ``num_ids`` ids.

        Most engines can ban stop ids only for a whole call. With them a round that must not begin with a stop id is two calls, the
        protected ids with the stop ids banned and then the rest; or a single one without a ban, if the round may be redone.
        """
        num_left, num_protected = generate.max_new_tokens - num_ids, max(generate.min_tokens - num_ids, 0)
        if self.engine.keeps_min_tokens:
            return self._call(generate, context, num_left, min_tokens=num_protected)
        if not num_protected or generate.may_redo:
            return self._call(generate, context, num_left)
        return self._call(generate, context, num_protected, banned=generate.stop_ids)

    def _call(
        self, generate: Generate, context: tuple[int, ...], num_requested: int, *, banned: frozenset[int] = frozenset(), min_tokens: int = 0
    ) -> EngineCall:
        sampling, number = self.plan.sampling[generate.phase], self.num_calls
        self.num_calls += 1
        return EngineCall(
            request_id=f"{self.prefix}-{number}",
            input_ids=context,
            max_new_tokens=num_requested,
            stop_ids=generate.stop_ids,
            banned_ids=self.plan.masked_ids | banned,
            min_tokens=min_tokens,
            sampling=replace(sampling, seed=call_seed(sampling.seed, self.index, number)),
            ready=self.ready,
        )

    async def _wait_for_engine(self, error: EngineUnavailable) -> None:
        """Wait until the engine is back.

        Raises ``error`` if it is gone for more than ``max_outage_s``, or if the request has no ids yet: then the client loses nothing
        by sending it again, here or to another server.
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
    """Return the 63-bit seed of a sample's ``call``-th engine call: equal for equal requests, different for the calls of a request.

    vLLM and TensorRT-LLM's LLM API keep a seed as int64 without a check, so a 64th bit would fail the call.
    """
    if seed is None:
        return None
    digest = hashlib.blake2b(f"{seed}/{sample}/{call}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
