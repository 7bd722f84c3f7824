# SPDX-License-Identifier: Apache-2.0
"""Sinks that send the chunks of a reply: as they come, or joined at the end. Independent of Triton.

A stream sends its first chunk at once, and so the beginnings and ends of phases and rounds, and results. Any other ids are collected
until the stream's turn has come (``send_queue``); then they leave together. So a message holds more when the machine is behind.

We cannot see whether the client reads: Triton accepts every message and keeps it, some 2.5 kB each, until the client does (24.10:
until the stream ends, read or not). So the number of messages bounds the memory of a reply there: a message carries a 256th of the
reply so far, or the chunks of a quarter of a second. Beginnings and ends of phases and rounds are not held back. A reply of n ids in
t seconds is at most 256 (1 + ln(n / 256)) + 4 t messages, and three for each of its rounds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from budgetforce.serving.replies.send_batch import StreamSend
from budgetforce.serving.replies.send_queue import SendQueue

LEAST_SHARE = 256  # a message carries at least a 256th of the ids that were sent before it ...
MAX_HELD_S = 0.25  # ... or leaves after this time, since a person may be watching

_index_of = attrgetter("index")


@dataclass(slots=True, kw_only=True)  # not frozen, because it is made for every id: freezing doubles the time to make it
class OutputChunk:
    """A part of a reply.

    Attributes:
        event: "thinking_opened", "thinking", "injected", "answer_opened", "answer", "round_ended" or "done".
        index: which of the request's samples it belongs to.
        thinking: thinking text.
        answer: answer text.
        ids: token ids of the text, in the order of the context.
        round: JSON, with "round_ended" only.
        result: JSON, in a sample's last chunk only.
    """

    event: str
    index: int = 0
    thinking: str = ""
    answer: str = ""
    ids: tuple[int, ...] = ()
    round: str | None = None
    result: str | None = None


Send = Callable[[Sequence[OutputChunk], bool], None]  # (chunks, whether they end the request); blocking


class Sink(Protocol):
    """Takes the chunks of a reply, in order. Belongs to an event loop."""

    def put(self, chunk: OutputChunk) -> None:
        """Take a chunk; never blocks. Raises the error of an earlier send."""
        ...

    def ready(self) -> asyncio.Future[None] | None:
        """Return a future that is done when a chunk would leave at once; None if it would now. Until then the caller may collect more."""
        ...

    async def close(self) -> None:
        """Send the rest, including the request's final response."""
        ...

    async def settle(self) -> None:
        """Send the chunks that were held back, and wait; nothing is sent afterwards."""
        ...


class StreamSink:
    """Sends chunks as they come, as the module describes, through ``queue``."""

    def __init__(self, send: Send, queue: SendQueue, num_samples: int = 1) -> None:
        self._send = send
        self._queue = queue
        self._unsent: list[OutputChunk] = []
        self._num_unsent_ids = self._num_sent_ids = 0
        self._events: dict[int, str] = {}  # the last event of each sample
        self._is_due = False  # the unsent chunks leave at the end of this pass of the loop
        self._has_turn = False  # the next message is charged already
        self._sent_at = time.monotonic()
        self._timer_runs = False
        self._num_results_left = num_samples
        self._is_queued = False  # for a turn
        self._for_turn: list[asyncio.Future[None]] = []
        self._for_idleness: list[asyncio.Future[None]] = []
        self._failure: Exception | None = None

    def put(self, chunk: OutputChunk) -> None:
        if self._failure is not None:
            raise self._failure
        self._unsent.append(chunk)
        self._num_unsent_ids += len(chunk.ids)
        if chunk.result is not None:
            self._num_results_left -= 1
        if self._makes_due(chunk):
            self._become_due()
        elif not self._is_due:
            self._send_after(self._held_s)

    def _makes_due(self, chunk: OutputChunk) -> bool:
        is_beginning = self._events.get(chunk.index) != chunk.event
        self._events[chunk.index] = chunk.event
        is_enough = self._num_unsent_ids * LEAST_SHARE >= self._num_sent_ids
        return is_beginning or is_enough or self._held_s <= 0

    def _become_due(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._queue.add(self)

    @property
    def _held_s(self) -> float:
        """Seconds that a chunk may be held back from now on."""
        return self._sent_at + MAX_HELD_S - time.monotonic()

    def _send_after(self, seconds: float) -> None:
        """Schedule the sending of held chunks: an engine that falls silent brings no further chunk to send them with."""
        if not self._timer_runs:
            self._timer_runs = True
            asyncio.get_running_loop().call_later(seconds, self._send_held)

    def _send_held(self) -> None:
        self._timer_runs = False
        if not self._unsent or self._is_due:
            return
        if self._held_s <= 0:
            self._become_due()
        else:  # another message has left since
            self._send_after(self._held_s)

    # --- turns ----------------------------------------------------------------------------

    def ready(self) -> asyncio.Future[None] | None:
        if not self._is_due and self._may_go():
            return None
        waiter = asyncio.get_running_loop().create_future()
        self._for_turn.append(waiter)
        if not self._is_due:
            self._wait_for_turn()
        return waiter

    def _may_go(self) -> bool:
        self._has_turn = self._has_turn or self._queue.has_room()
        return self._has_turn

    def _wait_for_turn(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self._queue.wait_for_turn(self)

    def take_turn(self) -> bool:
        self._is_queued = False
        is_wanted = not self._has_turn and not all(waiter.done() for waiter in self._for_turn)  # the waiting calls may be over
        self._has_turn = self._has_turn or is_wanted
        _wake(self._for_turn)
        return is_wanted

    # --- sending ----------------------------------------------------------------------------

    def next_send(self) -> StreamSend:
        chunks = self._unsent
        if len(chunks) > 1:
            chunks = merge(sorted(chunks, key=_index_of))  # sorted, because interleaved samples would not merge
        self._queue.charge(len(chunks) - self._has_turn)
        self._num_sent_ids += self._num_unsent_ids
        self._num_unsent_ids, self._sent_at = 0, time.monotonic()
        self._unsent, self._has_turn = [], False
        return StreamSend(call=partial(self._send, chunks, self._num_results_left == 0), num_messages=len(chunks))

    def was_sent(self, failure: Exception | None) -> None:
        self._is_due = False
        self._failure = self._failure or failure
        _wake(self._for_idleness)
        if not self._for_turn:
            return
        if self._may_go():
            _wake(self._for_turn)
        else:
            self._wait_for_turn()

    async def _idle(self) -> None:
        if self._is_due:
            self._for_idleness.append(waiter := asyncio.get_running_loop().create_future())
            await waiter

    async def close(self) -> None:
        await self._idle()
        if self._failure is not None:
            raise self._failure

    async def settle(self) -> None:
        if self._unsent:
            self._become_due()  # the client gets everything that arrived
        await self._idle()


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


class JoiningSink:
    """Sends a single response at the end: a chunk for each sample, in order."""

    def __init__(self, send: Send, executor: Executor) -> None:
        self._send = send
        self._executor = executor
        self._chunks: list[OutputChunk] = []

    def put(self, chunk: OutputChunk) -> None:
        self._chunks.append(chunk)

    def ready(self) -> None:
        """Return None: nothing leaves before the end, so that nothing is gained by waiting."""

    async def close(self) -> None:
        in_order = sorted(self._chunks, key=_index_of)
        joined = [_join("done", list(of_sample)) for _, of_sample in groupby(in_order, _index_of)]
        await asyncio.get_running_loop().run_in_executor(self._executor, self._send, joined, True)

    async def settle(self) -> None:
        self._chunks.clear()


def merge(chunks: Iterable[OutputChunk]) -> list[OutputChunk]:
    """Merge neighbouring chunks of the same event and sample; chunks of rounds stay apart."""
    runs = [list(run) for _, run in groupby(chunks, attrgetter("event", "index", "round"))]
    return [run[0] if len(run) == 1 else _join(run[0].event, run) for run in runs]


def _join(event: str, chunks: Sequence[OutputChunk]) -> OutputChunk:
    return OutputChunk(
        event=event,
        index=chunks[0].index,
        thinking="".join([chunk.thinking for chunk in chunks]),
        answer="".join([chunk.answer for chunk in chunks]),
        ids=tuple([token_id for chunk in chunks for token_id in chunk.ids]),
        result=chunks[-1].result,
    )
