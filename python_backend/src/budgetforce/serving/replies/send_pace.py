# SPDX-License-Identifier: Apache-2.0
"""Decides when the next message may be sent, from what messages cost. Pure: knows neither threads nor streams."""

from __future__ import annotations

import time
from collections.abc import Callable

TARGET_SHARE = 0.5  # of the sender's time: the rest of a full machine is for the engine and for the clients
BURST_S = 0.005  # unused sending time that is kept: messages of several streams leave together
_NEGLIGIBLE_S = 1e-6  # rounding errors are smaller
_MEMORY = 256  # messages over which the mean cost is taken


class SendPace:
    """A bucket of sending time: it fills with ``TARGET_SHARE`` of a second each second, and each message takes the mean cost of one.

    So where sending is cheap or streams are few every message may leave at once, and where the sender would be busy for more than its
    share the messages that wait for it leave one after the other, at the rate that the share allows.

    Attributes:
        cost_s: mean time to send a message, in seconds; 0 until the first was measured.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.cost_s = 0.0
        self._clock = clock
        self._weight = 0.0
        self._left_s = BURST_S
        self._filled_at = clock()

    def measured(self, seconds: float, num_messages: int) -> None:
        """Take into account that ``num_messages`` (>= 1) took ``seconds`` to send."""
        kept = self._weight * (1 - 1 / _MEMORY) ** num_messages
        self._weight = kept + num_messages
        self.cost_s = (self.cost_s * kept + seconds) / self._weight

    def charge(self, num_messages: int) -> None:
        """Take the cost of messages out of the bucket, also more than it holds, but never more than ``BURST_S`` more."""
        self._fill()
        self._left_s = max(self._left_s - num_messages * self.cost_s, -BURST_S)

    def wait_s(self) -> float:
        """Return the seconds until a message may leave; 0 = now."""
        self._fill()
        missing_s = self.cost_s - self._left_s
        return missing_s / TARGET_SHARE if missing_s > _NEGLIGIBLE_S else 0.0

    def _fill(self) -> None:
        now = self._clock()
        self._left_s = min(self._left_s + (now - self._filled_at) * TARGET_SHARE, max(BURST_S, self.cost_s))
        self._filled_at = now
