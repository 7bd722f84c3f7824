# SPDX-License-Identifier: Apache-2.0
"""The thinking budget: which ids count against its cap."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class BudgetRule(str, Enum):
    """Which ids count, and over which rounds. The last two rules are the authors' and serve audits only."""

    EXACT = "exact"  # one cap for all rounds; sampled and injected ids count, consumed terminators do not
    PER_ROUND = "per_round"  # s1's evaluation: the whole cap for each round; the thought is cut to the cap afterwards
    SAMPLED = "sampled"  # s1's README: one cap for all rounds; sampled ids and terminators count, injected ids do not


# Cost of an id: (sampled, injected, terminator).
_PRICES = {BudgetRule.EXACT: (1, 1, 0), BudgetRule.PER_ROUND: (0, 0, 0), BudgetRule.SAMPLED: (1, 0, 1)}


@dataclass(slots=True)
class Budget:
    """Counts ids against a cap, by a rule.

    Attributes:
        cap: the thinking budget in ids.
        spent: ids charged so far.
    """

    cap: int
    rule: BudgetRule
    spent: int = 0

    @property
    def left(self) -> int:
        """Return how many ids the next round may sample."""
        return self.cap - self.spent

    def has_room_for(self, ids: tuple[int, ...]) -> bool:
        """Return whether ``ids`` can be injected and at least one more id sampled."""
        return self.left > len(ids) * _PRICES[self.rule][1]

    def charge(self, *, sampled: int = 0, injected: int = 0, terminators: int = 0) -> None:
        """Charge ids of each kind at the rule's prices."""
        per_sampled, per_injected, per_terminator = _PRICES[self.rule]
        self.spent += per_sampled * sampled + per_injected * injected + per_terminator * terminators
