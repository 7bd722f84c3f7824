# SPDX-License-Identifier: Apache-2.0
"""Requests to replies: checking, planning, admission, deadline, and exactly one end for each. Knows no Triton.

Belongs to one event loop. How many requests run on it at once is the business of whoever holds
it (``hosts``).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from budgetforce.config import OrchestratorConfig
from budgetforce.engine.base import Engine
from budgetforce.errors import BudgetForceError, Cancelled, DeadlineExceeded, EngineUnavailable, InvalidRequest
from budgetforce.serving.admission import Admission, Limits
from budgetforce.serving.deadline import NEVER, Deadline
from budgetforce.serving.planning import Planner, ReplyPlan
from budgetforce.serving.reply import Reply
from budgetforce.serving.request import ReplyRequest, read_command, read_reply_request
from budgetforce.serving.sinks import JoiningSink, Piece, Sink, StreamSink
from budgetforce.text.tokenizer import ChatTokenizer

T = TypeVar("T")


class Outlet(Protocol):
    """Where the responses of one request go. Everything here blocks: it is for the senders' threads."""

    def send_each(self, pieces: Sequence[Piece], final: bool) -> None:
        """A response for each piece."""
        ...

    def send_together(self, pieces: Sequence[Piece], final: bool) -> None:
        """One response, with an element for each piece."""
        ...

    def fail(self, error: BudgetForceError, message: str) -> None:
        """End the request with an error."""
        ...

    def is_cancelled(self) -> bool:
        """Whether the client has gone."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Incoming:
    """One request as it came.

    Attributes:
        request_id: the client's name for it, or one that we made up; need not be unique.
        inputs: flat lists by tensor name.
        arrived: on ``time.monotonic()``'s clock.
        refusal: what is wrong with it, if that was seen when it came.
        reply: what became of it, once it runs.
        task: what serves it.
    """

    request_id: str
    inputs: Mapping[str, Sequence[Any]]
    outlet: Outlet
    arrived: float
    refusal: InvalidRequest | None = None
    reply: Reply | None = None
    task: asyncio.Task[None] | None = None

    def hears(self, command: str) -> bool:
        """Whether it is not over; to answer, it has to run already."""
        return command == "cancel" if self.reply is None else not self.reply.is_over

    @property
    def so_far(self) -> list[dict[str, Any]]:
        return [] if self.reply is None else self.reply.so_far()


@dataclass(slots=True, kw_only=True)
class Orchestrator:
    """Serves requests over one engine.

    Attributes:
        senders: where responses are sent.
        workers: where requests are read, and chats rendered and tokenised.
        log_error: takes a message for the operator.
        num_open: requests that have come and not ended.
        ends: how many requests have ended in which way: "done", or an error's code.
        found_engine_gone: when a request last ended because it was, on ``time.monotonic()``'s clock.
    """

    config: OrchestratorConfig
    tokenizer: ChatTokenizer
    planner: Planner
    engine: Engine
    senders: Executor
    workers: Executor
    log_error: Callable[[str], None]
    num_open: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    found_engine_gone: float = -math.inf
    admission: Admission = field(init=False)
    _open: dict[str, list[Incoming]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.config
        limits = Limits(max_replies=config.max_replies, max_kv_tokens=config.max_kv_tokens, max_waiting=config.max_waiting)
        self.admission = Admission(limits)

    async def serve(self, incoming: Incoming) -> None:
        """Answer one request; it ends in a result or an error, whatever happens."""
        self.num_open += 1
        try:
            error = await self._end_of(incoming)
            if isinstance(error, EngineUnavailable):
                self.found_engine_gone = time.monotonic()
            self.ends["done" if error is None else error.code] += 1
            if error is not None:
                message = error.report(incoming.request_id, incoming.so_far)
                await asyncio.get_running_loop().run_in_executor(self.senders, incoming.outlet.fail, error, message)
        finally:
            self.num_open -= 1

    async def _end_of(self, incoming: Incoming) -> BudgetForceError | None:
        """Run one request; the error that it ends with, if it does not end with a result."""
        if incoming.refusal is not None:
            return incoming.refusal
        try:
            if command := read_command(incoming.inputs):
                await self._command(incoming, command)
            else:
                with self._listed(incoming):
                    await self._answer(incoming, await self._work(read_reply_request, incoming.inputs, self.config.max_messages))
        except BudgetForceError as error:
            return error
        except asyncio.CancelledError:
            return Cancelled("the request was cancelled")
        except Exception:  # noqa: BLE001  # a bug of ours: the operator gets the traceback, the client a sentence
            self.log_error(f"s1: request {incoming.request_id}:\n{traceback.format_exc()}")
            return BudgetForceError(f"unexpected error; the server's log has it under request id {incoming.request_id}")
        return None

    @contextmanager
    def _listed(self, incoming: Incoming) -> Iterator[None]:
        """Let commands find it."""
        incoming.task = asyncio.current_task()
        namesakes = self._open.setdefault(incoming.request_id, [])
        namesakes.append(incoming)
        try:
            yield
        finally:
            namesakes.remove(incoming)
            if not namesakes:
                del self._open[incoming.request_id]

    async def _answer(self, incoming: Incoming, request: ReplyRequest) -> None:
        if request.priority and self.config.transport == "bls":
            raise InvalidRequest("priority", request.priority, "0 with transport bls, where requests wait in Triton's own queue")
        deadline = Deadline.after(incoming.arrived, request.timeout_ms, request.on_timeout)
        try:
            async with asyncio.timeout_at(None if deadline is NEVER else deadline.at) as limit:
                plan = await self._work(self.planner.plan, request)
                plan.effective["engine_model"] = self.config.engine_model
                async with self.admission.admit(num_replies=plan.num_samples, num_tokens=plan.max_kv_tokens, priority=plan.priority):
                    if deadline.answers:
                        limit.reschedule(None)  # from here on it sees to that itself
                    await self._run(incoming, plan, deadline, stream=request.stream)
        except TimeoutError as error:
            where = "while it waited for room" if incoming.reply is None else "before the reply was complete"
            raise DeadlineExceeded(f"timeout_ms {request.timeout_ms} was over {where}") from error

    async def _work(self, function: Callable[..., T], *values: Any) -> T:
        """Call a function whose time grows with the request, on another thread."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, function, *values)

    async def _run(self, incoming: Incoming, plan: ReplyPlan, deadline: Deadline, *, stream: bool) -> None:
        outlet = incoming.outlet
        sink: Sink = (
            StreamSink(outlet.send_each, self.senders, plan.num_samples) if stream else JoiningSink(outlet.send_together, self.senders)
        )
        max_outage_s = self.config.max_outage_s
        reply = Reply(incoming.request_id, plan, self.engine, sink, self.tokenizer, deadline=deadline, max_outage_s=max_outage_s)
        incoming.reply = reply
        await reply.run()

    async def _command(self, incoming: Incoming, command: str) -> None:
        """Tell the requests of that id that hear it."""
        if self.config.transport == "bls":
            raise InvalidRequest(command, True, "nothing with transport bls, where a running request has a process of its own")
        told = [one for one in self._open.get(incoming.request_id, ()) if one.hears(command)]
        if not told:
            raise InvalidRequest("request id", incoming.request_id, "that of a running request")
        for one in told:
            if command == "cancel":
                assert one.task is not None
                one.task.cancel()
            else:
                assert one.reply is not None
                one.reply.answer_now()
        done = Piece(event="done", result=json.dumps({"request_id": incoming.request_id, "num_told": len(told)}))
        await asyncio.get_running_loop().run_in_executor(self.senders, incoming.outlet.send_each, [done], True)
