# SPDX-License-Identifier: Apache-2.0
"""Sends the spans of ended requests from a thread of its own, so that no request ever waits for the receiver. Independent of OpenTelemetry.

The SDK's own batch processor does not count the spans that it drops, and on shutdown waits up to 30 s for a receiver that does not answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from budgetforce.serving.spans import Span

PERIOD_S = 1.0
MAX_BATCH = 512  # spans in a message
MAX_WAITING = 16_384  # some 16 MB; a request of r rounds has r + 2 spans
CLOSE_S = 3.0  # for the last spans, when the server stops


class Sender(Protocol):
    """Sends spans, on the exporting thread."""

    def send(self, spans: Sequence[Span]) -> bool:
        """Send spans; return whether they arrived. Blocks."""
        ...

    def shutdown(self) -> None:
        """Let a running ``send`` end soon."""
        ...


class SpanExport:
    """Takes spans, and sends them about once a second. Safe to use from several threads.

    ``count`` is called with "exported" or "lost" and a number of spans; ``warn`` once when spans begin to be lost, and once when they
    arrive again.
    """

    def __init__(self, sender: Sender, count: Callable[[str, int], None], warn: Callable[[str], None], receiver: str = "") -> None:
        self._sender, self._count, self._warn, self._receiver = sender, count, warn, receiver
        self._lock = threading.Lock()  # guards the next three
        self._waiting: list[Span] = []
        self._num_lost = 0  # since the last span that arrived
        self._is_losing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="s1-spans", daemon=True)
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> None:
        """Take spans; never blocks. If there is no room for all of them, they are lost."""
        with self._lock:
            fits = len(self._waiting) + len(spans) <= MAX_WAITING
            if fits:
                self._waiting.extend(spans)
        if not fits:
            self._lose(len(spans), f"{MAX_WAITING} others wait to be sent")

    def close(self) -> None:
        """Send the last spans, for ``CLOSE_S`` at most."""
        self._closing.set()
        self._thread.join(CLOSE_S)
        self._warn = lambda _: None  # Triton's log may be gone when a late send returns
        self._sender.shutdown()

    def _run(self) -> None:
        while not self._closing.wait(PERIOD_S):
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        with self._lock:
            spans, self._waiting = self._waiting, []
        for start in range(0, len(spans), MAX_BATCH):
            batch = spans[start : start + MAX_BATCH]
            if not self._send(batch):
                self._lose(len(spans) - start, "the receiver did not take them")  # all: each batch would wait as long
                return
            self._arrive(len(batch))

    def _send(self, batch: Sequence[Span]) -> bool:
        try:
            return self._sender.send(batch)
        except Exception:  # noqa: BLE001  # the thread must not end: the spans would grow up to their limit, unsent
            return False

    def _arrive(self, num_spans: int) -> None:
        self._count("exported", num_spans)
        with self._lock:
            was_losing, num_lost = self._is_losing, self._num_lost
            self._is_losing, self._num_lost = False, 0
        if was_losing:
            self._warn(f"tracing: spans arrive at {self._receiver} again; {num_lost} were lost")

    def _lose(self, num_spans: int, reason: str) -> None:
        self._count("lost", num_spans)
        with self._lock:
            was_losing, self._is_losing = self._is_losing, True
            self._num_lost += num_spans
        if not was_losing:
            self._warn(f"tracing: spans for {self._receiver} are lost: {reason}; s1_spans_total counts them, requests are not affected")
