# SPDX-License-Identifier: Apache-2.0
"""Sinks that send the chunks of a reply: as they come, or joined at the end. Independent of Triton.

A stream sends its first chunk at once. Then a single send runs at a time, and the chunks that arrive meanwhile leave together with the
next. So a message holds more when the machine is behind.

We cannot see whether the client reads: Triton accepts every message and keeps it, some 2.5 kB each, until the client does (24.10:
until the stream ends, read or not). So the number of messages bounds the memory of a reply there: a message carries a 256th of the
reply so far, or the chunks of a quarter of a second. Beginnings and ends of phases and rounds are not held back. A reply of n ids in
t seconds is at most 256 (1 + ln(n / 256)) + 4 t messages, and three for each of its rounds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

LEAST_SHARE = 256  # a message carries at least a 256th of the ids that were sent before it ...
MAX_HELD_S = 0.25  # ... or leaves after this time, since a person may be watching


@dataclass(frozen=True, slots=True, kw_only=True)
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

    async def ready(self) -> None:
        """Wait until a chunk would leave at once. Until then the caller may collect more."""
        ...

    async def close(self) -> None:
        """Send the rest, including the request's final response."""
        ...

    async def settle(self) -> None:
        """Send the chunks that were held back, after the send that is running, and wait; nothing is sent afterwards."""
        ...


class StreamSink:
    """Sends chunks as they come, as the module describes, in the threads of ``executor``.

    A sending thread continues as long as there are chunks to send. It wakes the event loop only if somebody waits, because waking
    it is expensive.
    """

    def __init__(self, send: Send, executor: Executor, num_samples: int = 1) -> None:
        self._send = send
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards all of the following
        self._unsent: list[OutputChunk] = []
        self._num_unsent_ids = self._num_sent_ids = 0
        self._events: dict[int, str] = {}  # the last event of each sample
        self._is_due = False  # the unsent chunks may leave
        self._sent_at = time.monotonic()
        self._timer_runs = False  # used by the event loop only
        self._num_results_left = num_samples
        self._is_idle = True
        self._waiters: list[asyncio.Future[None]] = []
        self._failure: Exception | None = None

    def put(self, chunk: OutputChunk) -> None:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._unsent.append(chunk)
            self._num_unsent_ids += len(chunk.ids)
            begins = self._makes_due(chunk) and self._become_due()
            held_s = 0.0 if self._is_due else self._held_s
        if begins:
            self._executor.submit(self._drain)
        if held_s > 0:
            self._send_after(held_s)

    def _makes_due(self, chunk: OutputChunk) -> bool:
        is_beginning = self._events.get(chunk.index) != chunk.event
        self._events[chunk.index] = chunk.event
        is_enough = self._num_unsent_ids * LEAST_SHARE >= self._num_sent_ids
        return is_beginning or is_enough or self._held_s <= 0

    def _become_due(self) -> bool:
        """Let all unsent chunks leave; return whether the caller must start a drain for them."""
        begins = self._is_idle
        self._is_due, self._is_idle = True, False
        return begins

    @property
    def _held_s(self) -> float:
        """Seconds that a chunk may be held back from now on."""
        return self._sent_at + MAX_HELD_S - time.monotonic()

    def _send_after(self, seconds: float) -> None:
        """Schedule the sending of held chunks: an engine that falls silent brings no further chunk to send them with."""
        if not self._timer_runs:
            self._timer_runs = True
            self._loop.call_later(seconds, self._send_held)

    def _send_held(self) -> None:
        self._timer_runs = False
        with self._lock:
            is_held = bool(self._unsent) and not self._is_due
            held_s = self._held_s if is_held else 0.0  # another message may have left since
            begins = is_held and held_s <= 0 and self._become_due()
        if begins:
            self._executor.submit(self._drain)
        if held_s > 0:
            self._send_after(held_s)

    async def ready(self) -> None:
        with self._lock:
            if self._is_idle:
                return
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
        await waiter

    def _drain(self) -> None:
        try:
            while chunks := self._next_batch():
                self._num_results_left -= sum(chunk.result is not None for chunk in chunks)
                self._send(chunks, self._num_results_left == 0)
        except Exception as error:  # noqa: BLE001  # raised to the reply by its next ``put`` or ``close``
            with self._lock:
                self._failure = error
                self._unsent.clear()
            self._next_batch()

    def _next_batch(self) -> list[OutputChunk]:
        """Return the chunks that may leave now; without any, become idle and wake the waiters."""
        with self._lock:
            chunks, self._unsent = (self._unsent, []) if self._is_due else ([], self._unsent)
            self._is_idle, self._is_due = not chunks, False
            if chunks:
                self._num_sent_ids += self._num_unsent_ids
                self._num_unsent_ids, self._sent_at = 0, time.monotonic()
            waiters, self._waiters = ([], self._waiters) if chunks else (self._waiters, [])
        if waiters:
            self._loop.call_soon_threadsafe(_wake, waiters)
        return merge(sorted(chunks, key=lambda chunk: chunk.index))  # sorted, because interleaved samples would not merge

    async def close(self) -> None:
        await self.ready()
        if self._failure is not None:
            raise self._failure

    async def settle(self) -> None:
        with self._lock:
            begins = bool(self._unsent) and self._become_due()  # the client gets everything that arrived
        if begins:
            self._executor.submit(self._drain)
        await self.ready()


def _wake(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


class JoiningSink:
    """Sends a single response at the end: a chunk for each sample, in order."""

    def __init__(self, send: Send, executor: Executor) -> None:
        self._send = send
        self._executor = executor
        self._chunks: list[OutputChunk] = []

    def put(self, chunk: OutputChunk) -> None:
        self._chunks.append(chunk)

    async def ready(self) -> None:
        """Return at once: nothing leaves before the end."""

    async def close(self) -> None:
        in_order = sorted(self._chunks, key=lambda chunk: chunk.index)
        joined = [_join("done", list(of_sample)) for _, of_sample in groupby(in_order, lambda chunk: chunk.index)]
        await asyncio.get_running_loop().run_in_executor(self._executor, self._send, joined, True)

    async def settle(self) -> None:
        self._chunks.clear()


def merge(chunks: Iterable[OutputChunk]) -> list[OutputChunk]:
    """Merge neighbouring chunks of the same event and sample; chunks of rounds stay apart."""
    runs = [list(run) for _, run in groupby(chunks, lambda chunk: (chunk.event, chunk.index, chunk.round))]
    return [run[0] if len(run) == 1 else _join(run[0].event, run) for run in runs]


def _join(event: str, chunks: Sequence[OutputChunk]) -> OutputChunk:
    return OutputChunk(
        event=event,
        index=chunks[0].index,
        thinking="".join(chunk.thinking for chunk in chunks),
        answer="".join(chunk.answer for chunk in chunks),
        ids=tuple(token_id for chunk in chunks for token_id in chunk.ids),
        result=chunks[-1].result,
    )
