# SPDX-License-Identifier: Apache-2.0
"""Turns requests into replies: checks, plans, queues and runs each, and ends it exactly once. Independent of Triton.

An orchestrator belongs to an event loop. Its runtime (``runtime``) decides how many requests share that loop.
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
from dataclasses import dataclass, field, fields

from budgetforce.config import OrchestratorConfig
from budgetforce.engine.base import Engine
from budgetforce.errors import BudgetForceError, DeadlineExceeded, EngineUnavailable, InvalidRequest, Stopping, shorten, unexpected_error
from budgetforce.serving.admission import Admission, Admitted
from budgetforce.serving.drain import DrainOrder
from budgetforce.serving.incoming import IncomingRequest, RunningRequests
from budgetforce.serving.logs import RequestEnd, ServerLog, code_of, level_of
from budgetforce.serving.measurements import Measurements
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.deadline import NEVER, Deadline
from budgetforce.serving.replies.reply import Reply
from budgetforce.serving.replies.result import ms_since
from budgetforce.serving.replies.send_queue import SendQueue
from budgetforce.serving.replies.sinks import JoiningSink, OutputChunk, Sink, StreamSink
from budgetforce.serving.request_measures import EndedRequest, account_of, measure
from budgetforce.serving.request_work import RequestWork
from budgetforce.serving.requests.request import ReplyRequest, read_command, read_reply_request
from budgetforce.serving.result_schema import CommandResult
from budgetforce.serving.room import Limits
from budgetforce.serving.tenant_labels import TenantLabels
from budgetforce.text.tokenizer import ChatTokenizer


@dataclass(slots=True, kw_only=True)
class Orchestrator:
    """Serves requests over an engine.

    Attributes:
        stream_queue: sends the messages of streams.
        senders: threads that send any other responses.
        work: checks requests, renders chats and tokenises them.
        log: takes a line for each request that ended.
        num_open: requests that have arrived and not ended.
        end_counts: ended requests, by "done" or an error's code.
        measurements: of ended requests, for the metrics.
        trace: takes each traced request that has ended.
        tenant_labels: the tenants' names in the metrics.
        engine_lost_at: when a request last ended with EngineUnavailable, on ``time.monotonic()``'s clock.
        is_draining: the server is stopping; see ``drain``.
        rejects_new: it takes no more requests.
    """

    config: OrchestratorConfig
    tokenizer: ChatTokenizer
    planner: Planner
    engine: Engine
    stream_queue: SendQueue
    senders: Executor
    work: RequestWork
    log: ServerLog
    num_open: int = 0
    end_counts: Counter[str] = field(default_factory=Counter)
    measurements: Measurements = field(default_factory=Measurements)
    trace: Callable[[EndedRequest], None] = lambda _: None
    tenant_labels: TenantLabels = field(default_factory=TenantLabels)
    engine_lost_at: float = -math.inf
    is_draining: bool = False
    rejects_new: bool = False
    admission: Admission = field(init=False)
    _running: RunningRequests = field(default_factory=RunningRequests)

    def __post_init__(self) -> None:
        config = self.config
        self.admission = Admission(Limits(**{limit.name: getattr(config, limit.name) for limit in fields(Limits)}))

    async def serve(self, incoming: IncomingRequest) -> None:
        """Answer a request: it ends with a result or an error, whatever happens."""
        self.num_open += 1
        try:
            error = await self._run_to_end(incoming)
            if isinstance(error, EngineUnavailable):
                self.engine_lost_at = time.monotonic()
            self.record_end(incoming, error)
            if error is not None:
                message = error.report(incoming.name, incoming.so_far)
                await asyncio.get_running_loop().run_in_executor(self.senders, incoming.writer.fail, error, message)
        finally:
            self.num_open -= 1

    def record_end(self, incoming: IncomingRequest, error: BudgetForceError | None) -> None:
        """Count and log the end of a request, the first time that it is recorded. Never raises: the request must still be answered."""
        if incoming.is_recorded:
            return
        incoming.is_recorded = True
        try:
            self._record(incoming, error)
        except Exception:  # a bug of ours
            self.log.exception(f"the end of request {shorten(incoming.name)} could not be recorded")

    def _record(self, incoming: IncomingRequest, error: BudgetForceError | None) -> None:
        self.end_counts[code_of(error)] += 1
        self.measurements.increment("s1_requests_total", end=code_of(error))
        ended = _ended(incoming, error, self.tenant_labels.label_of(incoming.tenant))
        measure(ended, self.measurements)
        if ended.span is not None:
            self.trace(ended)
        if self.log.shows(level_of(error)):  # by default the end of a complete request is not logged
            self.log.request_ended(self._end_of(incoming, ended))

    def _end_of(self, incoming: IncomingRequest, ended: EndedRequest) -> RequestEnd:
        so_far = incoming.so_far
        return RequestEnd(
            name=incoming.name,
            error=ended.error,
            engine=self.config.engine_model,
            num_rounds=sum(sample["num_rounds"] for sample in so_far),
            num_tokens=sum(sample["usage"]["num_output_ids"] for sample in so_far),
            duration_ms=ms_since(incoming.arrived),
            prompt=incoming.prompt,
            tenant=incoming.tenant,
            account=account_of(ended),
            traceback=incoming.traceback,
        )

    async def _run_to_end(self, incoming: IncomingRequest) -> BudgetForceError | None:
        """Run a request; return the error that ended it, None if it ended with a result."""
        if incoming.refusal is not None:
            return incoming.refusal
        try:
            if command := read_command(incoming.inputs):
                await self._obey(incoming, command)
            else:
                await self._check_admissible(incoming)
                with self._running.listed(incoming):
                    request = await self.work.do(incoming, read_reply_request, incoming.inputs, self.config.max_messages)
                    await self._answer(incoming, request)
        except BudgetForceError as error:
            return error
        except asyncio.CancelledError:
            return incoming.cancelled_by
        except Exception:  # noqa: BLE001  # a bug of ours: the log gets the traceback, the client a sentence
            incoming.traceback = traceback.format_exc()
            return unexpected_error(incoming.name)
        return None

    def drain(self, order: DrainOrder) -> None:
        """Show that the server is stopping; then reject new requests, and end those that still run after the order's seconds.

        Until then running requests obey commands.
        """
        self.is_draining = True
        if order.seconds is not None:
            self.rejects_new = True
            asyncio.get_running_loop().call_later(order.seconds, self._end_running_requests, order.seconds)

    def _end_running_requests(self, drain_s: float) -> None:
        for request in self._running:
            if request.can_obey("cancel"):
                request.end(Stopping(f"the server is stopping, and the reply was not complete after {drain_s:g} s"))

    async def _check_admissible(self, incoming: IncomingRequest) -> None:
        """Raise Stopping if the server is draining, InvalidRequest if a request with the same id runs."""
        self._refuse_if_draining()  # before the id is checked: another server may accept the same request
        await self._running.ensure_id_is_free(
            incoming, lambda writer: asyncio.get_running_loop().run_in_executor(self.senders, writer.is_cancelled)
        )
        self._refuse_if_draining()  # draining may have begun meanwhile

    def _refuse_if_draining(self) -> None:
        if self.rejects_new:
            raise Stopping("the server is stopping, and takes no more requests")

    async def _answer(self, incoming: IncomingRequest, request: ReplyRequest) -> None:
        if request.priority and self.config.transport == "bls":
            raise InvalidRequest("priority", request.priority, "0 with transport bls, where requests wait in Triton's own queue")
        deadline = Deadline.after(incoming.arrived, request.timeout_ms, request.on_timeout)
        try:
            async with asyncio.timeout_at(None if deadline is NEVER else deadline.at) as limit:
                plan = await self.work.do(incoming, self.planner.plan, request)
                size = {"num_replies": plan.num_samples, "num_tokens": plan.max_kv_tokens}
                incoming.queued = time.monotonic()
                async with self.admission.admit(**size, priority=plan.priority, tenant=incoming.tenant) as admitted:
                    incoming.admitted = time.monotonic()
                    if deadline.answers:
                        limit.reschedule(None)  # from here on the samples watch the deadline
                    await self._run(incoming, plan, deadline, admitted, stream=request.stream)
        except TimeoutError as error:
            where = "while it waited for room" if incoming.reply is None else "before the reply was complete"
            raise DeadlineExceeded(f"timeout_ms {request.timeout_ms} was over {where}") from error

    async def _run(self, incoming: IncomingRequest, plan: ReplyPlan, deadline: Deadline, admitted: Admitted, *, stream: bool) -> None:
        writer = incoming.writer
        sink: Sink = (
            StreamSink(writer.send_each, self.stream_queue, plan.num_samples) if stream else JoiningSink(writer.send_together, self.senders)
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
            span=incoming.span,
        )
        await incoming.reply.run()

    async def _obey(self, incoming: IncomingRequest, command: str) -> None:
        """Apply the command to the running request with the same id, and answer it."""
        incoming.command = command
        if self.config.transport == "bls":
            raise InvalidRequest(command, True, "nothing with transport bls, where a running request has a process of its own")
        target = self._running.find(incoming.request_id, command)
        if command == "cancel":
            target.end()
        else:
            assert target.reply is not None
            target.reply.answer_now()
        result: CommandResult = {"request_id": target.name, "num_requests": 1}
        done = OutputChunk(event="done", result=json.dumps(result))
        await asyncio.get_running_loop().run_in_executor(self.senders, incoming.writer.send_each, [done], True)


def _ended(incoming: IncomingRequest, error: BudgetForceError | None, tenant_label: str) -> EndedRequest:
    return EndedRequest(
        name=incoming.name,
        error=error,
        arrived=incoming.arrived,
        ended=time.monotonic(),
        command=incoming.command,
        queued=incoming.queued,
        admitted=incoming.admitted,
        cancelled=incoming.cancelled,
        tenant=tenant_label,
        samples=() if incoming.reply is None else incoming.reply.facts(),
        span=incoming.span,
    )
