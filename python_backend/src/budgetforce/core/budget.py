# SPDX-License-Identifier: Apache-2.0
"""How thinking is counted against its cap."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class BudgetRule(str, Enum):
    """What counts, and for how long. The last two are the authors', for audits."""

    EXACT = "exact"  # over all rounds; sampled and injected ids count, consumed terminators do not
    PER_ROUND = "per_round"  # s1's evaluation: every round has the whole cap; the thought is cut to it afterwards
    SAMPLED = "sampled"  # s1's README: over all rounds; sampled ids and terminators count, injected ids do not


# What one id costs: (sampled, injected, terminator).
_PRICES = {BudgetRule.EXACT: (1, 1, 0), BudgetRule.PER_ROUND: (0, 0, 0), BudgetRule.SAMPLED: (1, 0, 1)}


@dataclass(slots=True)
class Budget:
    """A cap under a rule.

    Attributes:
        spent: what has been booked so far.
    """

    cap: int
    rule: BudgetRule
    spent: int = 0

    @property
    def left(self) -> int:
        """Ids that the next round may sample."""
        return self.cap - self.spent

    def has_room_for(self, ids: tuple[int, ...]) -> bool:
        """Whether ``ids`` can be injected and one id more sampled."""
        return self.left > len(ids) * _PRICES[self.rule][1]

    def charge(self, *, sampled: int = 0, injected: int = 0, terminators: int = 0) -> None:
        """Count ids that came."""
        per_sampled, per_injected, per_terminator = _PRICES[self.rule]
        self.spent += per_sampled * sampled + per_injected * injected + per_terminator * terminators
