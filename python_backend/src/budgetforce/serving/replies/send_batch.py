# SPDX-License-Identifier: Apache-2.0
"""Sends a batch of messages. Independent of Triton.

Triton acknowledges a message after a third of a millisecond on a busy machine, most of which is waiting. So the caller shares a batch
with a few threads, whose waits overlap, and waits for them. If it went on instead, each thread would wait for Python's lock after
each of its messages, up to 5 ms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

MIN_SHARED = 3  # sends; waking a thread costs as much as a short wait


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

    failures: tuple[Exception | None, ...]
    num_messages: int
    s_per_message: float


class BatchSender:
    """Sends in the calling thread and ``num_helpers`` others."""

    def __init__(self, num_helpers: int = 0) -> None:
        self._num_parts = num_helpers + 1
        self._helpers = ThreadPoolExecutor(num_helpers, thread_name_prefix="s1-stream") if num_helpers else None

    def close(self) -> None:
        """Release the helping threads; no send may follow."""
        if self._helpers is not None:
            self._helpers.shutdown()

    def send(self, batch: Sequence[StreamSend]) -> SentBatch:
        """Send a batch; return when all of it has left. An error of a send does not stop the others."""
        began = time.monotonic()
        failures = self._send_shared(batch)
        took_s = time.monotonic() - began
        num_messages = sum(send.num_messages for send in batch)
        return SentBatch(failures=tuple(failures), num_messages=num_messages, s_per_message=took_s / num_messages)

    def _send_shared(self, batch: Sequence[StreamSend]) -> list[Exception | None]:
        if self._helpers is None or len(batch) < MIN_SHARED:
            return _send_all(batch)
        parts = [slice(first, None, self._num_parts) for first in range(self._num_parts)]
        helping = [self._helpers.submit(_send_all, batch[part]) for part in parts[1:]]
        failures: list[Exception | None] = [None] * len(batch)
        failures[parts[0]] = _send_all(batch[parts[0]])
        for part, helped in zip(parts[1:], helping, strict=True):
            failures[part] = helped.result()
        return failures


def _send_all(sends: Sequence[StreamSend]) -> list[Exception | None]:
    return [_failure(send.call) for send in sends]


def _failure(call: Callable[[], None]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001  # it belongs to the stream
        return error
    return None
