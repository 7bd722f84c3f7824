# SPDX-License-Identifier: Apache-2.0
"""Every id is counted on arrival and emitted when its characters are complete."""

import pytest
from forcing_plan import HEAD, PHANTOM, TAIL, A, make_plan

from budgetforce.core import AnswerEnd, BudgetRule, Emit, Phase
from budgetforce.core.transcript import Transcript

TEXT, THINKING, ANSWER = A, Phase.THINKING, Phase.ANSWER


def make_transcript(**changes):
    transcript = Transcript(make_plan(prompt_ids=(100,), **changes))
    transcript.begin_round(THINKING)
    return transcript


def sample(transcript, *ids, phase=THINKING):
    actions = []
    for token_id in ids:
        transcript.count_sampled()
        actions += transcript.add_sampled(phase, token_id)
    transcript.check()
    return [action.ids for action in actions]


def test_a_character_is_emitted_when_it_is_whole():
    transcript = make_transcript()
    assert sample(transcript, TEXT, HEAD) == [(TEXT,)]
    assert sample(transcript, TAIL) == [(HEAD, TAIL)]
    assert transcript.context == [100, TEXT, HEAD, TAIL]


def test_half_a_character_can_be_removed():
    transcript = make_transcript()
    sample(transcript, TEXT, HEAD)
    transcript.drop_held()
    transcript.check()
    assert (transcript.context, transcript.ledger.thinking_sampled, transcript.ledger.dropped) == ([100, TEXT], 1, 1)
    assert sample(transcript, TAIL) == [(TAIL,)]


def test_injected_ids_come_after_held_ids():
    transcript = make_transcript()
    sample(transcript, HEAD)
    assert transcript.inject(THINKING, (50,)) == [Emit(phase=THINKING, ids=(HEAD,)), Emit(phase=THINKING, ids=(50,), injected=True)]
    assert transcript.inject(THINKING, ()) == []
    assert transcript.round.injected_ids == [50]


def test_an_id_without_a_token_leaves_only_a_count():
    transcript = make_transcript()
    assert sample(transcript, PHANTOM, PHANTOM + 7) == []
    assert (transcript.context, transcript.ledger.dropped, transcript.round.num_dropped_tokens) == ([100], 2, 2)


def test_ids_that_turn_out_to_be_a_marker_count_for_the_other_phase():
    transcript = make_transcript()
    transcript.hold(ANSWER, TEXT)
    transcript.count_sampled()
    assert transcript.release_as_marker(THINKING) == [Emit(phase=THINKING, ids=(TEXT,), hidden=True)]
    transcript.check()
    assert (transcript.ledger.answer_sampled, transcript.ledger.thinking_sampled) == (0, 1)


def test_ids_beyond_a_later_cut_stay_in_the_context_until_the_cut():
    transcript = make_transcript(budget_rule=BudgetRule.PER_ROUND, max_thinking_tokens=2)
    assert sample(transcript, TEXT, TEXT, TEXT) == [(TEXT,), (TEXT,)]
    assert transcript.inject(THINKING, (50,)) == []
    assert transcript.context == [100, TEXT, TEXT, TEXT, 50]
    transcript.cut_overrun()
    transcript.check()
    assert (transcript.context, transcript.ledger.dropped, transcript.ledger.thinking) == ([100, TEXT, TEXT], 1, 2)


def test_a_replaced_end_is_counted_as_a_difference():
    transcript = make_transcript()
    sample(transcript, TEXT, TEXT)
    transcript.replace_end(1, (7,))
    transcript.check()
    assert (transcript.context, transcript.ledger.reencoded) == ([100, 7], -1)


def test_a_ledger_that_disagrees_with_the_context_is_caught():
    transcript = make_transcript()
    transcript.context.append(5)
    with pytest.raises(AssertionError, match="the context has 2 ids"):
        transcript.check()
    transcript = make_transcript()
    transcript.count_sampled()
    with pytest.raises(AssertionError, match="the engine sampled 1 ids, the phases hold"):
        transcript.check()


def test_rounds_that_do_not_add_up_are_caught_at_the_end():
    """Not before: they may be thousands, and the laws are checked for every id."""
    transcript = make_transcript()
    sample(transcript, TEXT)
    transcript.round.num_sampled_tokens += 1
    transcript.check()
    transcript.ledger.answer_end = AnswerEnd.STOP
    with pytest.raises(AssertionError, match="the engine sampled 1 ids, the rounds hold"):
        transcript.check()
