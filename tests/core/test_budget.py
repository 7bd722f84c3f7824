# SPDX-License-Identifier: Apache-2.0
"""What an id costs, under each rule."""

import pytest

from budgetforce.core.budget import Budget, BudgetRule


@pytest.mark.parametrize(("rule", "spent"), [(BudgetRule.EXACT, 3 + 2), (BudgetRule.PER_ROUND, 0), (BudgetRule.SAMPLED, 3 + 1)])
def test_each_rule_charges_for_other_ids(rule, spent):
    budget = Budget(10, rule)
    budget.charge(sampled=3)
    budget.charge(injected=2)
    budget.charge(terminators=1)
    assert (budget.spent, budget.left) == (spent, 10 - spent)


@pytest.mark.parametrize(("rule", "fits"), [(BudgetRule.EXACT, False), (BudgetRule.PER_ROUND, True), (BudgetRule.SAMPLED, True)])
def test_a_string_must_leave_room_for_an_id_where_it_is_charged_for(rule, fits):
    assert Budget(2, rule).has_room_for((1, 2)) is fits
    assert Budget(3, rule).has_room_for((1, 2))
    assert Budget(1, rule).has_room_for(())
    assert Budget(0, rule).has_room_for(()) is False
