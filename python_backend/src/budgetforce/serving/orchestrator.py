# SPDX-License-Identifier: Apache-2.0
"""Requests to replies: checking, planning, admission, deadline, and exactly one end for each. Knows no Triton.

Belongs to one event loop. How many requests run on it at once is the business of whoever holds
it (``runtime``).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from budgetforce.config import OrchestratorConfig
from budgetforce.engine.base import Engine
from budgetforce.errors import (
    BudgetForceError,
    Cancelled,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    Stopping,
    shorten,
    unexpected_error,
)
from budgetforce.serving.admission import Admission, Admitted, Limits
from budgetforce.serving.incoming import IncomingRequest, RunningRequests
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.deadline import NEVER, Deadline
from budgetforce.serving.replies.reply import Reply
from budgetforce.serving.replies.sinks import JoiningSink, OutputChunk, Sink, StreamSink
from budgetforce.serving.requests.request import ReplyRequest, read_command, read_reply_request
from budgetforce.serving.result_schema import CommandResult
from budgetforce.text.tokenizer import ChatTokenizer

T = TypeVar("T")

_COUNTED_ONLY = {InvalidRequest.code, Overloaded.code, Cancelled.code}  # the callers' doing: the metrics tell how many


@dataclass(slots=True, kw_only=True)
class Orchestrator:
    """Serves requests over one engine.

    Attributes:
        senders: where responses are sent.
        workers: where requests are read, and chats rendered and tokenised.
        log_error, log_warning: take a message for the operator.
        num_open: requests that have come and not ended.
        end_counts: how many requests have ended in which way: "done", or an error's code.
        engine_lost_at: when a request last ended because it was, on ``time.monotonic()``'s clock.
        is_draining: the server is to stop; see ``drain``.
    """

    config: OrchestratorConfig
    tokenizer: ChatTokenizer
    planner: Planner
    engine: Engine
    senders: Executor
    workers: Executor
    log_error: Callable[[str], None]
    log_warning: Callable[[str], None]
    num_open: int = 0
    end_counts: Counter[str] = field(default_factory=Counter)
    engine_lost_at: float = -math.inf
    is_draining: bool = False
    admission: Admission = field(init=False)
    _running: RunningRequests = field(default_factory=RunningRequests)

    def __post_init__(self) -> None:
        config = self.config
        limits = Limits(max_replies=config.max_replies, max_kv_tokens=config.max_kv_tokens, max_waiting=config.max_waiting)
        self.admission = Admission(limits)

    async def serve(self, incoming: IncomingRequest) -> None:
        """Answer one request; it ends in a result or an error, whatever happens."""
        self.num_open += 1
        try:
            error = await self._run_to_end(incoming)
            if isinstance(error, EngineUnavailable):
                self.engine_lost_at = time.monotonic()
            self.end_counts["done" if error is None else error.code] += 1
            if error is not None:
                self._log_end(incoming, error)
                message = error.report(incoming.name, incoming.so_far)
                await asyncio.get_running_loop().run_in_executor(self.senders, incoming.writer.fail, error, message)
        finally:
            self.num_open -= 1

    def _log_end(self, incoming: IncomingRequest, error: BudgetForceError) -> None:
        """Leave a line on a request that failed: its name, its error and how far it got; never what was asked."""
        if error.code in _COUNTED_ONLY:
            return
        num_rounds = sum(sample["num_rounds"] for sample in incoming.so_far)
        num_tokens = sum(sample["usage"]["num_output_ids"] for sample in incoming.so_far)
        self.log_warning(f"s1: request {shorten(incoming.name)} after {num_rounds} rounds and {num_tokens} tokens: {error}")

    async def _run_to_end(self, incoming: IncomingRequest) -> BudgetForceError | None:
        """Run one request; the error that it ends with, if it does not end with a result."""
        if incoming.refusal is not None:
            return incoming.refusal
        try:
            if command := read_command(incoming.inputs):
                await self._command(incoming, command)
            else:
                await self._check_admissible(incoming)
                with self._running.listed(incoming):
                    await self._answer(incoming, await self._in_worker(read_reply_request, incoming.inputs, self.config.max_messages))
        except BudgetForceError as error:
            return error
        except asyncio.CancelledError:
            return incoming.cancelled_by
        except Exception:  # noqa: BLE001  # a bug of ours: the operator gets the traceback, the client a sentence
            self.log_error(f"s1: request {shorten(incoming.name)}:\n{traceback.format_exc()}")
            return unexpected_error(incoming.name)
        return None

    def drain(self, seconds: float) -> None:
        """Take no more requests, and end those that still run after so many seconds. Commands are obeyed until then."""
        self.is_draining = True
        asyncio.get_running_loop().call_later(seconds, self._end_running_requests, seconds)

    def _end_running_requests(self, drain_s: float) -> None:
        for one in self._running:
            if one.can_obey("cancel"):
                one.end(Stopping(f"the server is stopping, and the reply was not complete after {drain_s:g} s"))

    async def _check_admissible(self, incoming: IncomingRequest) -> None:
        """Raise Stopping if the server takes no more requests, InvalidRequest if one of that id runs."""
        self._refuse_if_draining()  # before the id is looked at: elsewhere the same request may succeed
        await self._running.ensure_id_is_free(
            incoming, lambda writer: asyncio.get_running_loop().run_in_executor(self.senders, writer.is_cancelled)
        )
        self._refuse_if_draining()  # it may have been told meanwhile

    def _refuse_if_draining(self) -> None:
        if self.is_draining:
            raise Stopping("the server is stopping, and takes no more requests")

    async def _answer(self, incoming: IncomingRequest, request: ReplyRequest) -> None:
        if request.priority and self.config.transport == "bls":
            raise InvalidRequest("priority", request.priority, "0 with transport bls, where requests wait in Triton's own queue")
        deadline = Deadline.after(incoming.arrived, request.timeout_ms, request.on_timeout)
        try:
            async with asyncio.timeout_at(None if deadline is NEVER else deadline.at) as limit:
                plan = await self._in_worker(self.planner.plan, request)
                num_replies, num_tokens = plan.num_samples, plan.max_kv_tokens
                async with self.admission.admit(num_replies=num_replies, num_tokens=num_tokens, priority=plan.priority) as admitted:
                    if deadline.answers:
                        limit.reschedule(None)  # from here on it sees to that itself
                    await self._run(incoming, plan, deadline, admitted, stream=request.stream)
        except TimeoutError as error:
            where = "while it waited for room" if incoming.reply is None else "before the reply was complete"
            raise DeadlineExceeded(f"timeout_ms {request.timeout_ms} was over {where}") from error

    async def _in_worker(self, function: Callable[..., T], *values: Any) -> T:
        """Call a function whose time grows with the request, on another thread."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, function, *values)

    async def _run(self, incoming: IncomingRequest, plan: ReplyPlan, deadline: Deadline, admitted: Admitted, *, stream: bool) -> None:
        writer = incoming.writer
        sink: Sink = (
            StreamSink(writer.send_each, self.senders, plan.num_samples) if stream else JoiningSink(writer.send_together, self.senders)
        )
        incoming.reply = Reply(
            incoming.name,
            plan,
            self.engine,
            sink,
            self.tokenizer,
            deadline=deadline,
            max_outage_s=self.config.max_outage_s,
            room=admitted.sample,
        )
        await incoming.reply.run()

    async def _command(self, incoming: IncomingRequest, command: str) -> None:
        """Tell the running request of that id."""
        if self.config.transport == "bls":
            raise InvalidRequest(command, True, "nothing with transport bls, where a running request has a process of its own")
        told = self._running.find(incoming.request_id, command)
        if command == "cancel":
            told.end()
        else:
            assert told.reply is not None
            told.reply.answer_now()
        result: CommandResult = {"request_id": told.name, "num_told": 1}
        done = OutputChunk(event="done", result=json.dumps(result))
        await asyncio.get_running_loop().run_in_executor(self.senders, incoming.writer.send_each, [done], True)
