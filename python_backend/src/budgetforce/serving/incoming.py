# SPDX-License-Identifier: Apache-2.0
"""The requests that are being served, and the lookup by id of a command's target. Independent of Triton; belongs to one event loop."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from budgetforce.errors import BudgetForceError, Cancelled, InvalidRequest
from budgetforce.serving.replies.reply import Reply
from budgetforce.serving.replies.sinks import OutputChunk
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.result_schema import SampleProgress

# Our client appends a random part, new for each attempt, to the name that a caller chose. So two programs that chose the same
# name have two ids, and each ends its own request.
_RANDOM_PART = re.compile(r"(?<!^)~[0-9a-f]{32}\Z")


def name_of(request_id: str) -> str:
    """Return the client's name for the request: its id without our client's random part."""
    return _RANDOM_PART.sub("", request_id)


class ResponseWriter(Protocol):
    """Sends the responses of a request. Every method blocks: call it on a sender's thread."""

    def send_each(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """Send a response for each chunk."""
        ...

    def send_together(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """Send a single response with an element for each chunk."""
        ...

    def fail(self, error: BudgetForceError, message: str) -> None:
        """End the request with an error."""
        ...

    def is_cancelled(self) -> bool:
        """Return whether the client has gone."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class IncomingRequest:
    """A request from its arrival to its end.

    Attributes:
        request_id: the id that the client sent, or a random id; unique among the running requests.
        inputs: flat lists by tensor name.
        tenant: whose request it is; "" = it names none.
        arrived: on ``time.monotonic()``'s clock.
        refusal: the error that was found on arrival.
        reply: set when the request runs.
        task: the asyncio task that serves it.
        ended_by: why the server ended it; None = it did not, so a cancelled task means that the client cancelled.
        traceback: of a bug that ended it, for the log.
        is_recorded: its end has been counted and logged.
        command: "answer_now" or "cancel"; None for a request with a prompt.
        queued, admitted, cancelled: when it began and ended to wait for room, and when its cancellation was noticed, on
            ``time.monotonic()``'s clock; None if it did not come so far.
        span: its place in a trace; None = it is not traced.
    """

    request_id: str
    inputs: Mapping[str, Sequence[Any]]
    writer: ResponseWriter
    arrived: float
    tenant: str = ""
    refusal: BudgetForceError | None = None
    reply: Reply | None = None
    task: asyncio.Task[None] | None = None
    ended_by: BudgetForceError | None = None
    traceback: str | None = None
    is_recorded: bool = False
    command: str | None = None
    queued: float | None = None
    admitted: float | None = None
    cancelled: float | None = None
    span: SpanContext | None = None

    @property
    def name(self) -> str:
        """The client's name for the request."""
        return name_of(self.request_id)

    @property
    def prompt(self) -> bytes:
        """The prompt as it was sent, b"" if there is none."""
        values = self.inputs.get("text_input") or self.inputs.get("messages") or (b"",)
        return values[0] if isinstance(values[0], bytes) else b""

    @property
    def num_text_bytes(self) -> int:
        """The length of all its texts."""
        return sum([len(value) for values in self.inputs.values() for value in values if isinstance(value, bytes)])

    def can_obey(self, command: str) -> bool:
        """Return whether ``command`` can still have an effect.

        Any request that is not over can be cancelled; ``answer_now`` also needs a reply that has begun.
        """
        return command == "cancel" if self.reply is None else not self.reply.is_over

    def end(self, error: BudgetForceError | None = None) -> None:
        """End the request with ``error``, or as cancelled by its client."""
        assert self.task is not None
        self.ended_by = error
        self.note_cancelled()
        self.task.cancel()

    def note_cancelled(self) -> None:
        """Record when its cancellation was noticed, the first time."""
        if self.cancelled is None:
            self.cancelled = time.monotonic()

    @property
    def cancelled_by(self) -> BudgetForceError:
        """The error that a cancelled task of this request stands for."""
        return self.ended_by or Cancelled("the request was cancelled")

    @property
    def so_far(self) -> list[SampleProgress]:
        """The progress of each sample; empty before the reply has begun."""
        return [] if self.reply is None else self.reply.so_far()


@dataclass(slots=True)
class RunningRequests:
    """The running requests by id."""

    _by_id: dict[str, IncomingRequest] = field(default_factory=dict)

    def __iter__(self) -> Iterator[IncomingRequest]:
        return iter(list(self._by_id.values()))

    async def ensure_id_is_free(self, incoming: IncomingRequest, is_cancelled: Callable[[ResponseWriter], asyncio.Future[bool]]) -> None:
        """Raise InvalidRequest if another request with this id runs.

        A running request whose client has gone (``is_cancelled`` checks, on a sender's thread) is ended instead: a client that lost
        its connection may send the same id again before the server has noticed the loss.
        """
        while (other := self._by_id.get(incoming.request_id)) is not None and other.can_obey("cancel"):
            if not await is_cancelled(other.writer):
                allowed = "an id that no running request has, or none at all"
                raise InvalidRequest("request id", incoming.name, allowed)
            if self._by_id.get(incoming.request_id) is other:
                other.end()
                del self._by_id[incoming.request_id]

    @contextmanager
    def listed(self, incoming: IncomingRequest) -> Iterator[None]:
        """Let commands find the request inside this context."""
        incoming.task = asyncio.current_task()
        self._by_id[incoming.request_id] = incoming
        try:
            yield
        finally:
            if self._by_id.get(incoming.request_id) is incoming:
                del self._by_id[incoming.request_id]

    def find(self, request_id: str, command: str) -> IncomingRequest:
        """Return the running request that ``command`` applies to: the request with exactly this id, else the only request with this name.

        Raises InvalidRequest if there is none, or if several have this name and none has exactly this id.
        """
        exact = self._by_id.get(request_id)
        if exact is not None and exact.can_obey(command):
            return exact
        named = [running for running in self if running.name == request_id and running.can_obey(command)]
        if not named:
            raise InvalidRequest("request id", name_of(request_id), "the id of a running request")
        if len(named) > 1:
            allowed = f"an id of one running request: {len(named)} running requests have this name"
            raise InvalidRequest("request id", request_id, allowed)
        return named[0]
