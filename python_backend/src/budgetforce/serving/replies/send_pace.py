# SPDX-License-Identifier: Apache-2.0
"""Decides when the next message may be sent, from what messages cost. Pure: knows neither threads nor streams."""

from __future__ import annotations

import time
from collections.abc import Callable

# Of a thread's time, where it is not known how full the cores are: Triton and the client need as long again for each message.
TARGET_SHARE = 0.7
BURST_S = 0.005  # unused sending time that is kept: the streams of an engine that steps them together may send together
LEAST_SHARE = 0.1  # however full the cores are
WAIT_WEIGHT = 1.5  # the share is 1, less so many times the part of the time for which the loop's thread waits for a core
WAIT_PERIOD_S = 0.1  # between two looks at that wait
_WAIT_STEP = 0.3  # by which it is followed at each look
_STEP = 0.02  # by which the cost follows each message
_MAX_STEPS = 1000  # the cost of any batch is reached before; more would not fit into a float
_NEGLIGIBLE_S = 1e-6  # rounding errors are smaller


class SendPace:
    """A bucket of sending time: it fills with ``share`` of a second each second, and each message takes the cost of one.

    So where sending is cheap or streams are few every message may leave at once, and where sending would take more than its share the
    messages that wait for it leave one after the other, at the rate that the share allows.

    Attributes:
        cost_s: median time to send a message, in seconds; 0 until the first was measured. The mean would follow the moments in which
            other programs have the processor, and then hold back messages although that helps nobody.
        share: of the time, which messages may take; it follows how long the loop's thread waits for a core.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, waited_s: Callable[[], float | None] = lambda: None) -> None:
        """``waited_s``: see ``serving.core_wait``; None = unknown, then the share stays ``TARGET_SHARE``."""
        self.cost_s = 0.0
        self.share = TARGET_SHARE
        self._waited_s = waited_s
        self._waiting = 0.0  # share of the time
        self._last_look = (clock(), waited_s())
        self._clock = clock
        self._left_s = BURST_S
        self._filled_at = clock()

    def measured(self, s_per_message: float, num_messages: int = 1) -> None:
        """Take into account how long each message of a batch took to send."""
        if not self.cost_s:
            self.cost_s = min(s_per_message, BURST_S)  # the first of a process may be slow by far, and would hold all streams back for long
        num_steps = min(num_messages, _MAX_STEPS)
        if s_per_message > self.cost_s:
            self.cost_s = min(self.cost_s * (1 + _STEP) ** num_steps, s_per_message)
        else:
            self.cost_s = max(self.cost_s * (1 - _STEP) ** num_steps, s_per_message)

    def charge(self, num_messages: int) -> None:
        """Take the cost of messages out of the bucket, also more than it holds, but never more than ``BURST_S`` more."""
        self._fill()
        self._left_s = max(self._left_s - num_messages * self.cost_s, -BURST_S)

    def take(self) -> bool:
        """Take the cost of a message out of the bucket if it may leave now; return whether it may."""
        if self.wait_s():
            return False
        self._left_s -= self.cost_s
        return True

    def wait_s(self) -> float:
        """Return the seconds until a message may leave; 0 = now."""
        self._fill()
        missing_s = self.cost_s - self._left_s
        return missing_s / self.share if missing_s > _NEGLIGIBLE_S else 0.0

    def _fill(self) -> None:
        now = self._clock()
        if now - self._last_look[0] >= WAIT_PERIOD_S:
            self._follow_wait(now)
        self._left_s = min(self._left_s + (now - self._filled_at) * self.share, max(BURST_S, self.cost_s))
        self._filled_at = now

    def _follow_wait(self, now: float) -> None:
        """Send less the longer the loop's thread waits for a core: then Triton's threads wait, too, and messages queue behind them."""
        waited_s = self._waited_s()
        (last, last_waited_s), self._last_look = self._last_look, (now, waited_s)
        if waited_s is None or last_waited_s is None:
            return
        waiting = min((waited_s - last_waited_s) / (now - last), 1.0)
        self._waiting += _WAIT_STEP * (waiting - self._waiting)
        self.share = max(1 - WAIT_WEIGHT * self._waiting, LEAST_SHARE)
