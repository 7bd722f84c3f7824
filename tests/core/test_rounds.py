# SPDX-License-Identifier: Apache-2.0
"""An engine that does not keep to what was asked is caught, id by id."""

import pytest

from budgetforce.core import EngineProtocolError, ForcingPlan, Phase, RoundEnd, ShellProtocolError
from budgetforce.core.rounds import Rounds
from budgetforce.core.transcript import Transcript

TEXT, STOP = 1, 9


@pytest.fixture
def rounds():
    stops = frozenset({STOP})
    plan = ForcingPlan(
        prompt_ids=(100,),
        thinking_terminators=stops,
        answer_terminators=stops,
        max_thinking_tokens=5,
        max_answer_tokens=1,
        max_context_tokens=50,
    )
    return Rounds(Transcript(plan))


def ask(rounds, *, max_new_tokens=2, min_tokens=0):
    return rounds.ask(Phase.THINKING, max_new_tokens, frozenset({STOP}), min_tokens)


def test_a_round_is_asked_with_the_whole_context(rounds):
    asked = ask(rounds, min_tokens=5)
    assert (asked.context_ids, asked.max_new_tokens, asked.min_tokens) == ((100,), 2, 2)


def test_ids_are_counted_and_stops_told(rounds):
    ask(rounds)
    record, stops = rounds.count(TEXT)
    assert (record.num_sampled_tokens, stops) == (1, False)
    assert rounds.count(STOP) == (record, True)


def test_a_full_round_ends_and_one_that_is_not_does_not(rounds):
    ask(rounds)
    rounds.count(TEXT)
    with pytest.raises(EngineProtocolError, match="after 1 of 2 ids without a terminator"):
        rounds.end(RoundEnd.BUDGET)
    rounds.count(TEXT)
    assert rounds.end(RoundEnd.BUDGET).ended_by is RoundEnd.BUDGET


def test_what_ended_a_round_stays_its_end(rounds):
    ask(rounds)
    record, _ = rounds.count(STOP)
    record.ended_by = RoundEnd.TERMINATOR
    with pytest.raises(EngineProtocolError, match=r"after the round's end \(terminator\)"):
        rounds.count(TEXT)
    assert rounds.end(RoundEnd.BUDGET).ended_by is RoundEnd.TERMINATOR


def test_more_than_asked_for_and_stops_too_early_are_caught(rounds):
    ask(rounds, max_new_tokens=1)
    rounds.count(TEXT)
    with pytest.raises(EngineProtocolError, match="more than the 1 ids"):
        rounds.count(TEXT)
    ask(rounds, min_tokens=1)
    with pytest.raises(EngineProtocolError, match="forbidden"):
        rounds.count(STOP)


def test_ids_outside_a_round_are_the_shells_mistake(rounds):
    with pytest.raises(ShellProtocolError, match="no round runs"):
        rounds.count(TEXT)
    ask(rounds)
    rounds.count(STOP)[0].ended_by = RoundEnd.TERMINATOR
    rounds.end(RoundEnd.BUDGET)
    with pytest.raises(ShellProtocolError, match="no round runs"):
        rounds.count(TEXT)
    with pytest.raises(ShellProtocolError, match="no round runs"):
        rounds.end(RoundEnd.BUDGET)


def test_what_is_no_id_is_a_broken_contract(rounds):
    ask(rounds)
    with pytest.raises(EngineProtocolError, match="-1 is no id"):
        rounds.count(-1)
