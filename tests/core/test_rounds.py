# SPDX-License-Identifier: Apache-2.0
"""An engine that does not keep to its request is caught, id by id."""

import pytest
from forcing_plan import END, A, make_plan

from budgetforce.core import EngineProtocolError, Phase, RoundEnd, ShellProtocolError
from budgetforce.core.rounds import Rounds
from budgetforce.core.transcript import Transcript

TEXT, STOP = A, END


@pytest.fixture
def rounds():
    return Rounds(Transcript(make_plan(prompt_ids=(100,))))


def begin(rounds, *, max_new_tokens=2, min_tokens=0):
    return rounds.begin(Phase.THINKING, max_new_tokens, frozenset({STOP}), min_tokens)


def test_a_round_requests_the_whole_context(rounds):
    request = begin(rounds, min_tokens=5)
    assert (request.context_ids, request.max_new_tokens, request.min_tokens) == ((100,), 2, 2)


def test_ids_are_counted_and_stop_ids_reported(rounds):
    begin(rounds)
    record, stops = rounds.count(TEXT)
    assert (record.num_sampled_tokens, stops) == (1, False)
    assert rounds.count(STOP) == (record, True)


def test_a_full_round_ends_and_one_that_is_not_does_not(rounds):
    begin(rounds)
    rounds.count(TEXT)
    with pytest.raises(EngineProtocolError, match="after 1 of 2 ids without a terminator"):
        rounds.end(RoundEnd.BUDGET)
    rounds.count(TEXT)
    assert rounds.end(RoundEnd.BUDGET).ended_by is RoundEnd.BUDGET


def test_the_reason_for_a_rounds_end_is_kept(rounds):
    begin(rounds)
    record, _ = rounds.count(STOP)
    record.ended_by = RoundEnd.TERMINATOR
    with pytest.raises(EngineProtocolError, match=r"after the round's end \(terminator\)"):
        rounds.count(TEXT)
    assert rounds.end(RoundEnd.BUDGET).ended_by is RoundEnd.TERMINATOR


def test_too_many_ids_and_a_terminator_too_early_are_caught(rounds):
    begin(rounds, max_new_tokens=1)
    rounds.count(TEXT)
    with pytest.raises(EngineProtocolError, match="more than the 1 requested ids"):
        rounds.count(TEXT)
    begin(rounds, min_tokens=1)
    with pytest.raises(EngineProtocolError, match="forbidden"):
        rounds.count(STOP)


def test_ids_outside_a_round_are_the_shells_mistake(rounds):
    with pytest.raises(ShellProtocolError, match="no round runs"):
        rounds.count(TEXT)
    begin(rounds)
    rounds.count(STOP)[0].ended_by = RoundEnd.TERMINATOR
    rounds.end(RoundEnd.BUDGET)
    with pytest.raises(ShellProtocolError, match="no round runs"):
        rounds.count(TEXT)
    with pytest.raises(ShellProtocolError, match="no round runs"):
        rounds.end(RoundEnd.BUDGET)


def test_a_negative_id_is_a_broken_contract(rounds):
    begin(rounds)
    with pytest.raises(EngineProtocolError, match="-1 is no id"):
        rounds.count(-1)
