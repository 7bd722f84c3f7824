# SPDX-License-Identifier: Apache-2.0
"""Which phase a model opens, id by id."""

import pytest

from budgetforce.core.markers import MarkerMatcher
from budgetforce.core.states import Phase

START, THINK, ANSWER, TEXT = 1, 2, 3, 4


def watch(*ids, thinking=(START, THINK), answer=(START, ANSWER)):
    matcher = MarkerMatcher(thinking, answer)
    return matcher, [matcher.match(token_id) for token_id in ids]


def test_two_markers_that_begin_alike_are_told_apart_by_the_next_id():
    matcher, taken = watch(START)
    assert (matcher.is_midway, taken) == (True, [True])
    assert matcher.match(THINK)
    assert (matcher.phase, matcher.is_midway, matcher.answer_opened) == (Phase.THINKING, False, False)
    assert watch(START, ANSWER)[0].answer_opened


def test_the_answer_opens_out_of_a_thought():
    matcher, taken = watch(START, THINK, TEXT, START, ANSWER)
    assert (matcher.phase, matcher.answer_opened, taken) == (Phase.ANSWER, True, [True, True, False, True, True])


@pytest.mark.parametrize("ids", [(TEXT, START, THINK), (START, ANSWER, START, THINK), (START, TEXT, START, THINK)])
def test_a_thought_opens_at_the_start_or_never(ids):
    matcher, taken = watch(*ids)
    assert (matcher.phase, taken[-1]) == (Phase.ANSWER, False)


def test_a_marker_of_one_id_is_whole_at_once():
    matcher, _ = watch(7, thinking=(7,), answer=(8,))
    assert (matcher.phase, matcher.is_midway) == (Phase.THINKING, False)


def test_the_first_ids_are_those_of_the_markers_that_may_come():
    assert watch()[0].first_ids == {START}
    assert watch(thinking=(7,), answer=(8,))[0].first_ids == {7, 8}
    assert watch(7, thinking=(7,), answer=(8,))[0].first_ids == {8}
    assert watch(TEXT)[0].first_ids == frozenset()
    assert watch(thinking=(), answer=())[0].first_ids == frozenset()
