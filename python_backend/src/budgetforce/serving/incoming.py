# SPDX-License-Identifier: Apache-2.0
"""The requests that run, and how a command finds one by its id. Knows no Triton; belongs to one event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from budgetforce.errors import BudgetForceError, Cancelled, InvalidRequest
from budgetforce.serving.replies.reply import Reply
from budgetforce.serving.replies.sinks import OutputChunk
from budgetforce.serving.result_schema import SampleProgress

# Behind the name that a caller chose, our client sends a random part, new for each attempt. So two programs that chose one
# name have two ids, and each ends its own request.
_RANDOM_PART = re.compile(r"(?<!^)~[0-9a-f]{32}\Z")


def name_of(request_id: str) -> str:
    """Return what the caller calls the request: its id without our client's random part."""
    return _RANDOM_PART.sub("", request_id)


class ResponseWriter(Protocol):
    """Where the responses of one request go. Everything here blocks: it is for the senders' threads."""

    def send_each(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """A response for each chunk."""
        ...

    def send_together(self, chunks: Sequence[OutputChunk], final: bool) -> None:
        """One response, with an element for each chunk."""
        ...

    def fail(self, error: BudgetForceError, message: str) -> None:
        """End the request with an error."""
        ...

    def is_cancelled(self) -> bool:
        """Whether the client has gone."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class IncomingRequest:
    """One request as it came.

    Attributes:
        request_id: its id as it was sent, or one that we made up; of those that run no two are the same.
        inputs: flat lists by tensor name.
        arrived: on ``time.monotonic()``'s clock.
        refusal: what is wrong with it, if that was seen when it came.
        reply: what became of it, once it runs.
        task: what serves it.
        ended_by: why the server ended it; None = it did not, and a task that is cancelled was cancelled by the client.
    """

    request_id: str
    inputs: Mapping[str, Sequence[Any]]
    writer: ResponseWriter
    arrived: float
    refusal: BudgetForceError | None = None
    reply: Reply | None = None
    task: asyncio.Task[None] | None = None
    ended_by: BudgetForceError | None = None

    @property
    def name(self) -> str:
        """What the caller calls it."""
        return name_of(self.request_id)

    def can_obey(self, command: str) -> bool:
        """Return whether ``command`` can still have an effect.

        A request that is not over can be cancelled; to be told to answer, its reply must have begun.
        """
        return command == "cancel" if self.reply is None else not self.reply.is_over

    def end(self, error: BudgetForceError | None = None) -> None:
        """End it, with ``error`` or because its client wants no more."""
        assert self.task is not None
        self.ended_by = error
        self.task.cancel()

    @property
    def cancelled_by(self) -> BudgetForceError:
        """The error that its cancelled task stands for."""
        return self.ended_by or Cancelled("the request was cancelled")

    @property
    def so_far(self) -> list[SampleProgress]:
        return [] if self.reply is None else self.reply.so_far()


@dataclass(slots=True)
class RunningRequests:
    """The requests that run, by id."""

    _by_id: dict[str, IncomingRequest] = field(default_factory=dict)

    def __iter__(self) -> Iterator[IncomingRequest]:
        return iter(list(self._by_id.values()))

    async def ensure_id_is_free(self, incoming: IncomingRequest, ask: Callable[[ResponseWriter], asyncio.Future[bool]]) -> None:
        """Raise InvalidRequest if another request of that id runs.

        A running request whose client has gone (``ask`` tells, on a sender's thread) is ended: a client that lost its
        connection may send the same id again before the server has noticed the loss.
        """
        while (other := self._by_id.get(incoming.request_id)) is not None and other.can_obey("cancel"):
            if not await ask(other.writer):
                allowed = "an id that no running request has, or none at all"
                raise InvalidRequest("request id", incoming.name, allowed)
            if self._by_id.get(incoming.request_id) is other:
                other.end()
                del self._by_id[incoming.request_id]

    @contextmanager
    def listed(self, incoming: IncomingRequest) -> Iterator[None]:
        """Let commands find it, from here on."""
        incoming.task = asyncio.current_task()
        self._by_id[incoming.request_id] = incoming
        try:
            yield
        finally:
            if self._by_id.get(incoming.request_id) is incoming:
                del self._by_id[incoming.request_id]

    def find(self, request_id: str, command: str) -> IncomingRequest:
        """Return the running request that can_obey ``command``: the one with exactly this id, else the only one of this name.

        Raises InvalidRequest if there is none, or if several have this name and none has exactly this id.
        """
        exact = self._by_id.get(request_id)
        if exact is not None and exact.can_obey(command):
            return exact
        named = [running for running in self if running.name == request_id and running.can_obey(command)]
        if not named:
            raise InvalidRequest("request id", name_of(request_id), "that of a running request")
        if len(named) > 1:
            allowed = f"an id of one running request: {len(named)} running requests have this name"
            raise InvalidRequest("request id", request_id, allowed)
        return named[0]
