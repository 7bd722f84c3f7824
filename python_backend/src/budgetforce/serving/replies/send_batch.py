# SPDX-License-Identifier: Apache-2.0
"""Sends a batch of messages. Independent of Triton.

Triton acknowledges a message after a third of a millisecond on a busy machine, most of which is waiting. So the caller shares a batch
with a few threads, whose waits overlap, and waits for them. If it went on instead, each thread would wait for Python's lock after
each of its messages, up to 5 ms.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

MIN_SENDS = 3  # for each helper; waking it costs as much as a short wait


@dataclass(slots=True, kw_only=True)  # not frozen, because it is made for every message: freezing doubles the time to make it
class StreamSend:
    """The messages of a stream that leave together.

    Attributes:
        call: sends them; blocks.
        num_messages: how many they are.
    """

    call: Callable[[], None]
    num_messages: int


@dataclass(slots=True, kw_only=True)  # not frozen, as above
class SentBatch:
    """What came of a batch.

    Attributes:
        failures: for each send the error that it raised, or None.
        num_messages: of all sends.
        s_per_message: wall time of the batch, divided by that.
    """

    failures: list[Exception | None]
    num_messages: int
    s_per_message: float


_Left = deque[tuple[int, StreamSend]]  # what is left of a batch, by index
_Work = tuple[_Left, list[Exception | None]]


class BatchSender:
    """Sends in the calling thread and ``num_helpers`` others."""

    def __init__(self, num_helpers: int = 0) -> None:
        self._helpers = [_Helper(number) for number in range(num_helpers)]

    def close(self) -> None:
        """End the helping threads; no send may follow."""
        for helper in self._helpers:
            helper.close()

    def send(self, batch: Sequence[StreamSend]) -> SentBatch:
        """Send a batch; return when all of it has left. An error of a send does not stop the others."""
        began = time.monotonic()
        failures = self._send_shared(batch)
        took_s = time.monotonic() - began
        num_messages = sum([send.num_messages for send in batch])
        return SentBatch(failures=failures, num_messages=num_messages, s_per_message=took_s / num_messages)

    def _send_shared(self, batch: Sequence[StreamSend]) -> list[Exception | None]:
        failures: list[Exception | None] = [None] * len(batch)
        left = deque(enumerate(batch))
        helping = self._helpers[: len(batch) // MIN_SENDS]
        for helper in helping:
            helper.begin(left, failures)
        _send_all(left, failures)
        for helper in helping:
            helper.wait()
        return failures


class _Helper:
    """A thread that helps with batches."""

    def __init__(self, number: int) -> None:
        self._begun: SimpleQueue[_Work | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"s1-stream_{number}", daemon=True)
        self._thread.start()

    def begin(self, left: _Left, failures: list[Exception | None]) -> None:
        """Begin to take sends from ``left``, as other threads do."""
        self._begun.put((left, failures))

    def wait(self) -> None:
        """Wait until the sends that were taken have left."""
        self._done.get()

    def close(self) -> None:
        """End the thread, which must not be helping."""
        self._begun.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._begun.get()) is not None:
            _send_all(*work)
            self._done.put(None)


def _send_all(left: _Left, failures: list[Exception | None]) -> None:
    """Take sends and send them, until none is left; write down their errors."""
    while left:
        try:
            index, send = left.popleft()
        except IndexError:  # another thread took the last
            return
        try:
            send.call()
        except Exception as error:  # noqa: BLE001  # it belongs to the stream
            failures[index] = error
