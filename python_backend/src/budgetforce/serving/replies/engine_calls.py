# SPDX-License-Identifier: Apache-2.0
"""Makes the engine calls of a sample: their ids, their seeds, and their continuation after an outage. Independent of Triton."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from budgetforce.core import BudgetForcer, Generate
from budgetforce.engine.base import Engine, EngineCall, EngineDelta
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

    async def run_round(self, generate: Generate, forcer: BudgetForcer, trace: RoundTrace, take: Callable[[tuple[int, ...]], bool]) -> bool:
        """Run a round; ``take`` gets the sampled ids as they come, must pass them to ``forcer``, and returns whether it wants more.

        Returns False if it did not. A call that an outage cuts is continued from the ids that came. Raises the errors of ``Engine.run``.
        """
        progress = _Progress(calls=self, generate=generate, trace=trace, take_ids=take)
        while not progress.is_over:
            call = self._next_call(progress, forcer.context_ids)
            num_expected = progress.num_ids + call.max_new_tokens
            try:
                await self._run_call(call, progress)
            except InvalidRequest as refusal:
                raise name_request_field(refusal, self.plan, generate.phase) from refusal
            except EngineUnavailable as error:
                if not progress.is_over:
                    trace.num_outages += 1
                    await self._wait_for_engine(error)
            else:
                progress.is_over = progress.is_over or progress.num_ids < num_expected
        return not progress.is_refused

    async def _run_call(self, call: EngineCall, progress: _Progress) -> None:
        """Run an engine call and count its result."""
        progress.trace.num_engine_calls += 1
        result = "cut"
        try:
            await self.engine.run(call, progress.take)
            result = "cut" if progress.is_refused else "done"
        except BudgetForceError as error:
            result = error.code
            raise
        except Exception:
            result = BudgetForceError.code
            raise
        finally:
            self.results[result] += 1

    def note_ids(self) -> None:
        """Note that the engine answers."""
        self.begun.set()
        self._gone_since = None

    def _next_call(self, progress: _Progress, context: tuple[int, ...]) -> EngineCall:
        """Return the call that continues a round.

        Most engines can ban stop ids only for a whole call. With them a round that must not begin with a stop id is two calls, the
        protected ids with the stop ids banned and then the rest; or a single one without a ban, if the round may be redone.
        """
        generate = progress.generate
        num_left, num_protected = generate.max_new_tokens - progress.num_ids, max(generate.min_tokens - progress.num_ids, 0)
        if self.engine.keeps_min_tokens:
            return self._call(progress, context, num_left, min_tokens=num_protected)
        if not num_protected or generate.may_redo:
            return self._call(progress, context, num_left)
        return self._call(progress, context, num_protected, banned=generate.stop_ids)

    def _call(
        self,
        progress: _Progress,
        context: tuple[int, ...],
        num_requested: int,
        *,
        banned: frozenset[int] = frozenset(),
        min_tokens: int = 0,
    ) -> EngineCall:
        sampling, number = self.plan.sampling[progress.generate.phase], self.num_calls
        self.num_calls += 1
        if sampling.seed is not None:
            sampling = replace(sampling, seed=call_seed(sampling.seed, self.index, number))
        return EngineCall(
            request_id=f"{self.prefix}-{number}",
            input_ids=context,
            max_new_tokens=num_requested,
            stop_ids=progress.generate.stop_ids,
            banned_ids=self.plan.masked_ids | banned,
            min_tokens=min_tokens,
            sampling=sampling,
            ready=self.ready,
            traceparent=progress.trace.traceparent,
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


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far a round is.

    Attributes:
        num_ids: ids that have come.
        is_refused: the consumer wants no more ids.
        is_over: so the round needs no further call.
    """

    calls: EngineCalls
    generate: Generate
    trace: RoundTrace
    take_ids: Callable[[tuple[int, ...]], bool]
    num_ids: int = 0
    is_refused: bool = False
    is_over: bool = False

    def take(self, delta: EngineDelta) -> bool:
        """Take ids from the engine; return whether the consumer wants more."""
        ids, trace = delta.ids, self.trace
        if trace.num_engine_calls == 1 and delta.kv_reused_blocks is not None:
            trace.kv_reused_blocks = delta.kv_reused_blocks
        if not ids:
            return True
        self.calls.note_ids()
        self.num_ids += len(ids)
        self.is_refused = not self.take_ids(ids)
        self.is_over = self.is_refused or ids[-1] in self.generate.stop_ids or self.num_ids >= self.generate.max_new_tokens
        return not self.is_refused


def call_seed(seed: int, sample: int, call: int) -> int:
    """Return the 63-bit seed of a sample's ``call``-th engine call: equal for equal requests, different for the calls of a request.

    vLLM and TensorRT-LLM's LLM API keep a seed as int64 without a check, so a 64th bit would fail the call.
    """
    digest = hashlib.blake2b(f"{seed}/{sample}/{call}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
