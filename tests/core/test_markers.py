# SPDX-License-Identifier: Apache-2.0
"""Which phase a model opens, id by id."""

import pytest

from budgetforce.core.markers import MarkerWatch
from budgetforce.core.states import Phase

START, THINK, ANSWER, TEXT = 1, 2, 3, 4


def watch(*ids, thinking=(START, THINK), answer=(START, ANSWER)):
    one = MarkerWatch(thinking, answer)
    return one, [one.takes(token_id) for token_id in ids]


def test_two_markers_that_begin_alike_are_told_apart_by_the_next_id():
    one, taken = watch(START)
    assert (one.is_midway, taken) == (True, [True])
    assert one.takes(THINK)
    assert (one.phase, one.is_midway, one.answer_opened) == (Phase.THINKING, False, False)
    assert watch(START, ANSWER)[0].answer_opened


def test_the_answer_opens_out_of_a_thought():
    one, taken = watch(START, THINK, TEXT, START, ANSWER)
    assert (one.phase, one.answer_opened, taken) == (Phase.ANSWER, True, [True, True, False, True, True])


@pytest.mark.parametrize("ids", [(TEXT, START, THINK), (START, ANSWER, START, THINK), (START, TEXT, START, THINK)])
def test_a_thought_opens_at_the_start_or_never(ids):
    one, taken = watch(*ids)
    assert (one.phase, taken[-1]) == (Phase.ANSWER, False)


def test_a_marker_of_one_id_is_whole_at_once():
    one, _ = watch(7, thinking=(7,), answer=(8,))
    assert (one.phase, one.is_midway) == (Phase.THINKING, False)


def test_the_first_ids_are_those_of_the_markers_that_may_come():
    assert watch()[0].first_ids == {START}
    assert watch(thinking=(7,), answer=(8,))[0].first_ids == {7, 8}
    assert watch(7, thinking=(7,), answer=(8,))[0].first_ids == {8}
    assert watch(TEXT)[0].first_ids == frozenset()
    assert watch(thinking=(), answer=())[0].first_ids == frozenset()
