# SPDX-License-Identifier: Apache-2.0
"""Runs a request: its samples, concurrently, into a shared sink. Independent of Triton.

A reply ends in exactly one way: ``sink.close`` (every sample has its result), or an exception to the caller after ``sink.settle``
(the caller then sends the error response).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress

from budgetforce.engine.base import Engine
from budgetforce.errors import InvalidRequest
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.replies.deadline import NEVER, Deadline
from budgetforce.serving.replies.engine_calls import EngineCalls
from budgetforce.serving.replies.sample_facts import SampleFacts
from budgetforce.serving.replies.sample_runner import SampleRunner
from budgetforce.serving.replies.sinks import Sink
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.result_schema import SampleProgress
from budgetforce.text.tokenizer import ChatTokenizer


class Reply:
    """Runs the samples of a request. The first sample computes the prompt's KV cache for all of them."""

    def __init__(
        self,
        request_id: str,
        plan: ReplyPlan,
        engine: Engine,
        sink: Sink,
        tokenizer: ChatTokenizer,
        *,
        deadline: Deadline = NEVER,
        max_outage_s: float = 0.0,
        room: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        span: SpanContext | None = None,
    ) -> None:
        """``room``: each sample waits to enter such a context, and runs inside it. ``span``: of the request, if it is traced."""
        self._room = room
        self._latest_start = deadline.at if deadline.answers else None
        self._plan = plan
        self._sink = sink
        begun = asyncio.Event()
        self._runners = [
            SampleRunner(
                request_id=request_id,
                plan=plan,
                calls=EngineCalls(engine=engine, plan=plan, index=index, ready=sink.ready, begun=begun, max_outage_s=max_outage_s),
                tokenizer=tokenizer,
                sink=sink,
                deadline=deadline,
                index=index,
                span=span,
            )
            for index in range(plan.num_samples)
        ]

    async def run(self) -> None:
        """Run all samples to their end.

        Raises EngineFailed, EngineUnavailable, InvalidRequest (from the engine) or asyncio.CancelledError; the sink gets nothing more
        then.
        """
        try:
            await self._run_all()
            await self._sink.close()
        except BaseException:
            await self._sink.settle()
            raise

    def answer_now(self) -> None:
        """Close the thinking of all samples at once. Call it from the event loop only.

        Raises InvalidRequest if the preset leaves the answer to the model: then there is no marker to close thinking with.
        """
        if self._plan.forcing.leave_answer_to_model:
            preset = self._plan.effective["preset"]
            raise InvalidRequest("answer_now", True, f"nothing for preset {preset}, which leaves the answer to the model")
        for runner in self._runners:
            runner.answer_now()

    @property
    def is_over(self) -> bool:
        """Whether all samples are over. A client that has the last result may act on it before ``run`` has returned."""
        return all(runner.is_over for runner in self._runners)

    def so_far(self) -> list[SampleProgress]:
        """Return the progress of each sample."""
        return [runner.so_far() for runner in self._runners]

    def facts(self) -> list[SampleFacts]:
        """Return what the metrics need to know about each sample."""
        return [runner.facts() for runner in self._runners]

    async def _run_all(self) -> None:
        first, *others = self._runners
        if not others:
            await self._run_sample(first)
            return
        try:
            async with asyncio.TaskGroup() as group:  # a sample that fails ends the others
                group.create_task(self._run_sample(first))
                await first.first_ids_came.wait()  # now the prompt is in the KV cache
                for runner in others:
                    group.create_task(self._run_sample(runner))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _run_sample(self, runner: SampleRunner) -> None:
        async with AsyncExitStack() as stack:
            with suppress(TimeoutError):  # the deadline has come: the sample ends now, and needs no room for that
                async with asyncio.timeout_at(self._latest_start):
                    await stack.enter_async_context(self._room())
            await runner.run()
