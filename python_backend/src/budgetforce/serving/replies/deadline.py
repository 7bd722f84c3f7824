# SPDX-License-Identifier: Apache-2.0
"""The deadline of a request, and when its phases must end so that the answer is in time. Independent of Triton.

Times are readings of ``time.monotonic()``, which is asyncio's clock too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from budgetforce.core import Phase

TICK_S = 0.05  # period of the deadline checks of a request with on_timeout = answer
_LEAST_SHARE = 0.1  # of the whole time, reserved for the answer: the reserve before any token has been timed, its minimum afterwards
_MARGIN = 2.0  # factor on the time per token: decoding slows down when other requests join


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """The time by which a request must be over.

    Attributes:
        at: the deadline; infinity = none.
        timeout_s: seconds from the request's arrival to the deadline.
        answers: the last part of the time is reserved for the answer (``on_timeout`` = answer); else the request is cancelled at the
            deadline.
    """

    at: float = math.inf
    timeout_s: float = math.inf
    answers: bool = False

    @classmethod
    def after(cls, arrived: float, timeout_ms: int | None, on_timeout: str | None) -> Deadline:
        """Return the deadline ``timeout_ms`` after ``arrived``; None = no deadline."""
        if timeout_ms is None:
            return NEVER
        return cls(at=arrived + timeout_ms / 1e3, timeout_s=timeout_ms / 1e3, answers=on_timeout == "answer")

    def is_up(self, phase: Phase, now: float, num_answer_tokens: int, s_per_token: float) -> bool:
        """Return whether ``phase`` must end now. Thinking must end when the time left is what the answer may need."""
        if not self.answers:
            return False
        needed = max(_LEAST_SHARE * self.timeout_s, _MARGIN * num_answer_tokens * s_per_token)
        return self.at - now <= (needed if phase is Phase.THINKING else 0)


NEVER = Deadline()


@dataclass(slots=True)
class Pace:
    """Measures the time per token, from the first token on, pauses between rounds included."""

    num_ids: int = 0
    _first: float = 0.0
    _last: float = 0.0

    def count_ids(self, num_ids: int, now: float) -> None:
        """Record the arrival of ``num_ids`` tokens."""
        self._last = now
        self._first = self._first or self._last
        self.num_ids += num_ids

    @property
    def s_per_token(self) -> float:
        """Mean seconds per token; 0 until two deltas have come."""
        return (self._last - self._first) / self.num_ids if self.num_ids else 0.0
