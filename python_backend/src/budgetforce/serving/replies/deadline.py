# SPDX-License-Identifier: Apache-2.0
"""A request's deadline, and when its phases have to end for an answer in time. Knows no Triton.

Times are those of ``time.monotonic()``, which is asyncio's clock as well.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from budgetforce.core import Phase

TICK_S = 0.05  # how often a reply that is to answer in time looks at the clock
_LEAST_SHARE = 0.1  # of the whole time, for the answer, before anything has been measured
_MARGIN = 2.0  # decoding gets slower when others join


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When a request must be over.

    Attributes:
        at: that moment; infinity = never.
        timeout_s: how long it had in all.
        answers: its last part is kept for the answer (``on_timeout`` = answer); else it is cancelled then.
    """

    at: float = math.inf
    timeout_s: float = math.inf
    answers: bool = False

    @classmethod
    def after(cls, arrived: float, timeout_ms: int | None, on_timeout: str | None) -> Deadline:
        """``timeout_ms`` after ``arrived``; None = no deadline."""
        if timeout_ms is None:
            return NEVER
        return cls(at=arrived + timeout_ms / 1e3, timeout_s=timeout_ms / 1e3, answers=on_timeout == "answer")

    def is_up(self, phase: Phase, now: float, num_answer_tokens: int, s_per_token: float) -> bool:
        """Whether ``phase`` must end now. Thinking ends when what is left is what the answer may need."""
        if not self.answers:
            return False
        needed = max(_LEAST_SHARE * self.timeout_s, _MARGIN * num_answer_tokens * s_per_token)
        return self.at - now <= (needed if phase is Phase.THINKING else 0)


NEVER = Deadline()


@dataclass(slots=True)
class Pace:
    """How fast ids come, from the first one on, with the pauses between rounds."""

    num_ids: int = 0
    _first: float = 0.0
    _last: float = 0.0

    def count_ids(self, num_ids: int) -> None:
        """So many came now."""
        self._last = time.monotonic()
        self._first = self._first or self._last
        self.num_ids += num_ids

    @property
    def s_per_token(self) -> float:
        """Seconds; 0 as long as nothing is known."""
        return (self._last - self._first) / self.num_ids if self.num_ids else 0.0
