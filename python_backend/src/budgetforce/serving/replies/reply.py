# SPDX-License-Identifier: Apache-2.0
"""One request: its samples, side by side, into one sink. Knows no Triton.

Every way through ends in exactly one of: ``sink.close`` (every sample has its result), or an
exception to the caller after ``sink.settle`` (who then sends the one error response).
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
from budgetforce.serving.replies.sample_runner import SampleRunner
from budgetforce.serving.replies.sinks import Sink
from budgetforce.serving.result_schema import SampleProgress
from budgetforce.text.tokenizer import ChatTokenizer


class Reply:
    """Runs the samples of a request. The first one computes the prompt's KV cache for all."""

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
    ) -> None:
        self._room = room  # a sample waits for it, and holds it while it runs
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
            )
            for index in range(plan.num_samples)
        ]

    async def run(self) -> None:
        """Run to the end.

        Raises EngineFailed, EngineUnavailable, InvalidRequest (from the engine) or
        asyncio.CancelledError; nothing more goes to the sink then.
        """
        try:
            await self._run_all()
            await self._sink.close()
        except BaseException:
            await self._sink.settle()
            raise

    def answer_now(self) -> None:
        """Close the thinking of all samples at once; from the event loop only.

        Raises InvalidRequest if their preset leaves the answer to the model: there is nothing to close it with.
        """
        if self._plan.forcing.leave_answer_to_model:
            preset = self._plan.effective["preset"]
            raise InvalidRequest("answer_now", True, f"nothing for preset {preset}, which leaves the answer to the model")
        for runner in self._runners:
            runner.answer_now()

    @property
    def is_over(self) -> bool:
        """Whether all samples are: who has the last result may know it before ``run`` has returned."""
        return all(runner.is_over for runner in self._runners)

    def so_far(self) -> list[SampleProgress]:
        """How far each sample got."""
        return [runner.so_far() for runner in self._runners]

    async def _run_all(self) -> None:
        first, *others = self._runners
        if not others:
            await self._run_one(first)
            return
        try:
            async with asyncio.TaskGroup() as group:  # one that fails ends the others
                group.create_task(self._run_one(first))
                await first.first_ids_came.wait()  # the prompt is in the KV cache now
                for runner in others:
                    group.create_task(self._run_one(runner))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _run_one(self, runner: SampleRunner) -> None:
        async with AsyncExitStack() as held:
            with suppress(TimeoutError):  # it has to end now, and needs no room for that
                async with asyncio.timeout_at(self._latest_start):
                    await held.enter_async_context(self._room())
            await runner.run()
