# SPDX-License-Identifier: Apache-2.0
"""Many concurrent requests: the outcome of each, in order or as they end."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol

from s1_client._errors import S1Error
from s1_client._options import Prompt
from s1_client._types import Reply

_AHEAD = 8  # outcomes that may wait for their turn, as a multiple of the concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of ``map`` with options of its own.

        client.map([Request(prompt="2+2?", options={"max_thinking_tokens": 50}, id="sum")])

    Attributes:
        prompt: a question, or chat messages.
        options: as in ``Client.stream``; they take precedence over those of ``map``.
        id: the request's name; "" = a random name.

    Raises ValueError for options that are no mapping. Their names and values are checked when the request is sent.
    """

    prompt: Prompt
    options: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping):
            raise ValueError(f"options: got {self.options!r}, allowed: a mapping of request fields to values")  # noqa: TRY004


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a request of ``map``: its replies or its error.

    Attributes:
        index: position of the request, from 0.
        request: the request itself.
        replies: a reply for each sample; empty if the request failed.
        error: S1Error, or TypeError for an unknown option; None if the request succeeded.
    """

    index: int
    request: Request
    replies: tuple[Reply, ...] = ()
    error: S1Error | TypeError | None = None

    @property
    def reply(self) -> Reply:
        """The reply; of several samples the first. Raises ``error`` if the request failed."""
        if self.error is not None:
            raise self.error
        return self.replies[0]


class Window:
    """Decides which requests may start, and which outcomes may be yielded. No thread, no clock.

    Attributes:
        num_running: requests that have started and not ended.
    """

    def __init__(self, requests: Iterable[Prompt | Request], *, concurrency: int, ordered: bool) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency: got {concurrency!r}, allowed: an integer >= 1")
        if not isinstance(ordered, bool):
            raise ValueError(f"ordered: got {ordered!r}, allowed: True or False")  # noqa: TRY004
        self.num_running = 0
        self._requests = enumerate(request if isinstance(request, Request) else Request(prompt=request) for request in requests)
        self._concurrency = concurrency
        self._ordered = ordered
        self._ended: dict[int, Outcome] = {}
        self._next_index = 0

    def start(self) -> Iterator[tuple[int, Request]]:
        """Yield the requests that may start now, with their indices."""
        while self.num_running < self._concurrency and len(self._ended) < _AHEAD * self._concurrency:
            following = next(self._requests, None)
            if following is None:
                return
            self.num_running += 1
            yield following

    def end(self, outcome: Outcome) -> list[Outcome]:
        """Take the outcome of a request that ended, and return the outcomes to yield now."""
        self.num_running -= 1
        if not self._ordered:
            return [outcome]
        self._ended[outcome.index] = outcome
        due = []
        while self._next_index in self._ended:
            due.append(self._ended.pop(self._next_index))
            self._next_index += 1
        return due


class Replies(Protocol):
    """The methods of a stream that ``map_requests`` calls."""

    def replies(self) -> tuple[Reply, ...]:
        """Read the stream to its end, and return the replies."""
        ...

    def cancel(self) -> None:
        """End the request from another thread."""
        ...


def map_requests(
    ask: Callable[..., Replies],
    requests: Iterable[Prompt | Request],
    *,
    concurrency: int,
    ordered: bool,
    progress: Callable[[Outcome], None] | None,
) -> Iterator[Outcome]:
    """Yield the outcomes of ``Client.map``. ``ask`` sends a request, given its prompt, its options and its id."""
    window = Window(requests, concurrency=concurrency, ordered=ordered)
    return _run(window, ask, concurrency, progress or (lambda _: None))


def _run(window: Window, ask: Callable[..., Replies], concurrency: int, progress: Callable[[Outcome], None]) -> Iterator[Outcome]:
    ended: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
    running = _Running(ask)
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="s1-map")
    try:
        while True:
            for index, request in window.start():
                pool.submit(copy_context().run, running.outcome, index, request).add_done_callback(ended.put)
            if not window.num_running:
                return
            outcome = ended.get().result()  # raises an unexpected error of a worker
            progress(outcome)
            yield from window.end(outcome)
    finally:
        running.stop()
        pool.shutdown(cancel_futures=True)


class _Running:
    """The streams of the running requests, which are cancelled when the iterator is left."""

    def __init__(self, ask: Callable[..., Replies]) -> None:
        self._ask = ask
        self._streams: dict[int, Replies] = {}
        self._is_stopped = False

    def outcome(self, index: int, request: Request) -> Outcome:
        """Run a request to its end, and return its outcome."""
        try:
            return Outcome(index=index, request=request, replies=self._replies(index, request))
        except (S1Error, TypeError) as error:
            return Outcome(index=index, request=request, error=error)

    def _replies(self, index: int, request: Request) -> tuple[Reply, ...]:
        self._streams[index] = stream = self._ask(request.prompt, request.options, request.id)
        if self._is_stopped:
            stream.cancel()
        try:
            return stream.replies()
        finally:
            del self._streams[index]

    def stop(self) -> None:
        """Cancel the running requests, and those about to start."""
        self._is_stopped = True
        for stream in list(self._streams.values()):
            stream.cancel()
