# SPDX-License-Identifier: Apache-2.0
"""What a sample's run tells the metrics: its token account, its rounds and the arrival times of its tokens. Independent of Triton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetforce.core import Ledger, Phase
from budgetforce.serving.replies.result import RoundTrace


@dataclass(slots=True)
class Arrivals:
    """When the sampled ids of a phase came from the engine, on ``time.monotonic()``'s clock.

    Attributes:
        first, last: the first and last delta; None before any has come.
        num_later: ids behind the first delta.
    """

    first: float | None = None
    last: float | None = None
    num_later: int = 0

    def note(self, now: float, num_ids: int) -> None:
        """Record the arrival of a delta of ``num_ids`` ids."""
        if self.first is None:
            self.first = now
        else:
            self.num_later += num_ids
        self.last = now

    @property
    def s_per_token(self) -> float | None:
        """Mean seconds between two ids; None for a phase of a single delta."""
        if self.first is None or self.last is None or not self.num_later:
            return None
        return (self.last - self.first) / self.num_later


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFacts:
    """A sample's run, complete or not.

    Attributes:
        traces: measurements of the rounds, as far as they have begun.
        budget: ``max_thinking_tokens`` of a forced thought; 0 = there is none.
        call_results: the number of engine calls by result: "done", "cut" or an error's code.
    """

    ledger: Ledger
    traces: Sequence[RoundTrace]
    arrivals: Mapping[Phase, Arrivals]
    budget: int
    call_results: Mapping[str, int]
