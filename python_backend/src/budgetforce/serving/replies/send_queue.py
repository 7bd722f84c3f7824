# SPDX-License-Identifier: Apache-2.0
"""Sends the messages of all streams, and gives the streams their turns. Independent of Triton; belongs to an event loop.

What becomes due in one pass of the event loop is sent together, on the loop's thread, which does nothing else until it has left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from budgetforce.serving.replies.send_batch import BatchSender, StreamSend
from budgetforce.serving.replies.send_pace import SendPace

MIN_WAIT_S = 0.005  # between two passes over the waiting streams


class Stream(Protocol):
    """A stream as the queue sees it."""

    def next_send(self) -> StreamSend:
        """Return the messages that are due, which are then no longer."""
        ...

    def was_sent(self, failure: Exception | None) -> None:
        """Learn that it has left, or what the send raised."""
        ...

    def take_turn(self) -> bool:
        """Take a turn that was waited for; return whether the stream still wants it."""
        ...


class SendQueue:
    """Sends by ``sender``; without ``pace`` no stream waits for its turn."""

    def __init__(self, sender: BatchSender, pace: SendPace | None = None) -> None:
        self._sender = sender
        self._pace = pace
        self._due: list[Stream] = []
        self._waiting: deque[Stream] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Release the sender's threads; no stream may be open."""
        self._sender.close()

    def add(self, stream: Stream) -> None:
        """Send what is due of ``stream`` at the end of this pass of the loop."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._send_due)
        self._due.append(stream)

    def _send_due(self) -> None:
        streams, self._due = self._due, []
        for stream, failure in zip(streams, self._failures_of(streams), strict=True):
            stream.was_sent(failure)

    def _failures_of(self, streams: Sequence[Stream]) -> Sequence[Exception | None]:
        """Send what is due of the streams; return the error of each, or None."""
        try:
            sent = self._sender.send([stream.next_send() for stream in streams])
        except Exception as error:  # noqa: BLE001  # such as "can't start new thread": without an answer each stream would wait for ever
            return [error] * len(streams)
        if self._pace is not None:
            self._pace.measured(sent.s_per_message, sent.num_messages)
        return sent.failures

    # --- turns ----------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Return whether a message that nobody waits for may leave at once; it is then charged."""
        return self._pace is None or (not self._waiting and self._pace.take())

    def wait_for_turn(self, stream: Stream) -> None:
        """Call ``stream.take_turn`` when its turn comes."""
        self._waiting.append(stream)
        if self._timer is None:
            self._set_timer()

    def charge(self, num_messages: int) -> None:
        """Charge messages for which no turn was taken."""
        if self._pace is not None and num_messages:
            self._pace.charge(num_messages)

    def _set_timer(self) -> None:
        assert self._pace is not None
        delay_s = max(self._pace.wait_s(), MIN_WAIT_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._give_turns)

    def _give_turns(self) -> None:
        assert self._pace is not None
        self._timer = None
        # The first turn was waited for: messages without a turn may have used the time up again, and do so for ever.
        is_given = False
        while self._waiting and not (is_given and self._pace.wait_s()):
            if self._waiting.popleft().take_turn():
                is_given = True
                self._pace.charge(1)
        if self._waiting:
            self._set_timer()
