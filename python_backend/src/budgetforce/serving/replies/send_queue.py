# SPDX-License-Identifier: Apache-2.0
"""Sends the messages of all streams, and gives the streams their turns. Independent of Triton; belongs to an event loop.

What becomes due in one pass of the event loop is sent together: messages that follow each other cost half as much as messages far
apart. The executor may send on the loop's own thread, which then does nothing else meanwhile: handing over to a sending thread, and
its wait for Python's lock after each message, cost more than the send.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from budgetforce.serving.replies.send_pace import SendPace

MIN_WAIT_S = 0.002  # between two passes over the waiting streams


class Stream(Protocol):
    """A stream as the queue sees it."""

    def next_send(self) -> tuple[Callable[[], None], int]:
        """Return a function that sends what is due, blocking, and the number of its messages."""
        ...

    def was_sent(self, failure: Exception | None) -> None:
        """Learn that the function has returned, or what it raised."""
        ...

    def take_turn(self) -> bool:
        """Take a turn that was waited for; return whether the stream still wants it."""
        ...


class SendQueue:
    """Sends by ``executor``, one batch at a time."""

    def __init__(self, executor: Executor, pace: SendPace | None = None) -> None:
        """Without ``pace`` no stream waits for its turn."""
        self._executor = executor
        self._pace = pace
        self._due: list[Stream] = []
        self._is_scheduled = False  # what is due will be handed over in this pass of the loop
        self._batch: tuple[Future[list[_Outcome]], list[Stream]] | None = None  # is being sent
        self._wakes_loop = False  # when the batch is sent, or the next one if none is being sent
        self._waiting: deque[Stream] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Release the threads; no stream may be open."""
        self._executor.shutdown()

    def add(self, stream: Stream) -> None:
        """Send what is due of ``stream``: with the next batch."""
        self._due.append(stream)
        self.collect()
        if self._batch is None:
            self._schedule()
        else:
            self.notify()

    def collect(self) -> None:
        """Tell the streams of the last batch that it was sent, if it was."""
        if self._batch is None or not self._batch[0].done():
            return
        (sent, streams), self._batch, self._wakes_loop = self._batch, None, False
        outcomes = sent.result()
        if self._pace is not None:
            self._pace.measured(outcome.took_s for outcome in outcomes)
        for stream, outcome in zip(streams, outcomes, strict=True):
            stream.was_sent(outcome.failure)
        if self._due:
            self._schedule()

    def notify(self) -> None:
        """Collect as soon as the batch is sent. Without that it is collected at the next occasion: waking the loop is expensive."""
        if not self._wakes_loop:
            self._wakes_loop = True
            self._wake_loop_when_sent()

    def _wake_loop_when_sent(self) -> None:
        if self._batch is not None:
            loop = asyncio.get_running_loop()
            self._batch[0].add_done_callback(lambda _: loop.call_soon_threadsafe(self.collect))

    def has_room(self) -> bool:
        """Return whether a message that nobody waits for may leave at once; it is then charged."""
        if self._pace is None:
            return True
        if self._waiting or self._pace.wait_s():
            return False
        self._pace.charge(1)
        return True

    def wait_for_turn(self, stream: Stream) -> None:
        """Call ``stream.take_turn`` when its turn comes."""
        self._waiting.append(stream)
        if self._timer is None:
            self._set_timer()

    def charge(self, num_messages: int) -> None:
        """Charge messages for which no turn was taken."""
        if self._pace is not None:
            self._pace.charge(num_messages)

    def _set_timer(self) -> None:
        assert self._pace is not None
        delay_s = max(self._pace.wait_s(), MIN_WAIT_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._give_turns)

    def _give_turns(self) -> None:
        assert self._pace is not None
        self._timer = None
        while self._waiting and not self._pace.wait_s():
            if self._waiting.popleft().take_turn():
                self._pace.charge(1)
        if self._waiting:
            self._set_timer()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        streams, self._due = self._due, []
        self._is_scheduled = False
        self._batch = self._executor.submit(_send_all, [stream.next_send() for stream in streams]), streams
        if self._wakes_loop:
            self._wake_loop_when_sent()
        self.collect()  # an executor that sends at once has sent


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a send: the error that it raised, and how long each of its messages took."""

    failure: Exception | None
    took_s: float


def _send_all(sends: Sequence[tuple[Callable[[], None], int]]) -> list[_Outcome]:
    return [_send(send, num_messages) for send, num_messages in sends]


def _send(send: Callable[[], None], num_messages: int) -> _Outcome:
    began, failure = time.monotonic(), None
    try:
        send()
    except Exception as error:  # noqa: BLE001  # it belongs to the stream, and must not stop the others
        failure = error
    return _Outcome(failure, (time.monotonic() - began) / num_messages)
