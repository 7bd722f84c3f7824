# SPDX-License-Identifier: Apache-2.0
"""Every id is booked as it comes, and handed on when its characters are whole."""

import pytest
from forcing_plan import HEAD, PHANTOM, TAIL, A, make_plan

from budgetforce.core import BudgetRule, Emit, Phase
from budgetforce.core.transcript import Transcript

TEXT, THINKING, ANSWER = A, Phase.THINKING, Phase.ANSWER


def transcript(**changes):
    one = Transcript(make_plan(prompt_ids=(100,), **changes))
    one.begin_round(THINKING)
    return one


def sample(one, *ids, phase=THINKING):
    one.round.num_sampled_tokens += len(ids)
    actions = [action for token_id in ids for action in one.add_sampled(phase, token_id)]
    one.check()
    return [action.ids for action in actions]


def test_a_character_is_handed_on_when_it_is_whole():
    one = transcript()
    assert sample(one, TEXT, HEAD) == [(TEXT,)]
    assert sample(one, TAIL) == [(HEAD, TAIL)]
    assert one.context == [100, TEXT, HEAD, TAIL]


def test_half_a_character_can_be_taken_back():
    one = transcript()
    sample(one, TEXT, HEAD)
    one.drop_held()
    one.check()
    assert (one.context, one.ledger.thinking_sampled, one.ledger.dropped) == ([100, TEXT], 1, 1)
    assert sample(one, TAIL) == [(TAIL,)]


def test_what_is_injected_comes_behind_what_was_held():
    one = transcript()
    sample(one, HEAD)
    assert one.inject(THINKING, (50,)) == [Emit(phase=THINKING, ids=(HEAD,)), Emit(phase=THINKING, ids=(50,), injected=True)]
    assert one.inject(THINKING, ()) == []
    assert one.round.injected_ids == [50]


def test_an_id_without_a_token_leaves_only_a_count():
    one = transcript()
    assert sample(one, PHANTOM, PHANTOM + 7) == []
    assert (one.context, one.ledger.dropped, one.round.num_dropped_tokens) == ([100], 2, 2)


def test_what_turns_out_to_be_a_marker_changes_sides():
    one = transcript()
    one.hold(ANSWER, TEXT)
    one.round.num_sampled_tokens += 1
    assert one.release_as_marker(THINKING) == [Emit(phase=THINKING, ids=(TEXT,), hidden=True)]
    one.check()
    assert (one.ledger.answer_sampled, one.ledger.thinking_sampled) == (0, 1)


def test_ids_beyond_an_afterwards_cut_are_context_until_it_comes():
    one = transcript(budget_rule=BudgetRule.PER_ROUND, max_thinking_tokens=2)
    assert sample(one, TEXT, TEXT, TEXT) == [(TEXT,), (TEXT,)]
    assert one.inject(THINKING, (50,)) == []
    assert one.context == [100, TEXT, TEXT, TEXT, 50]
    one.cut_overrun()
    one.check()
    assert (one.context, one.ledger.dropped, one.ledger.thinking) == ([100, TEXT, TEXT], 1, 2)


def test_a_replaced_end_is_booked_as_a_difference():
    one = transcript()
    sample(one, TEXT, TEXT)
    one.replace_end(1, (7,))
    one.check()
    assert (one.context, one.ledger.reencoded) == ([100, 7], -1)


def test_wrong_books_are_a_bug_that_is_seen():
    one = transcript()
    one.context.append(5)
    with pytest.raises(AssertionError, match="the context has 2 ids"):
        one.check()
    one = transcript()
    one.round.num_sampled_tokens += 1
    with pytest.raises(AssertionError, match="the engine sampled 1 ids"):
        one.check()
