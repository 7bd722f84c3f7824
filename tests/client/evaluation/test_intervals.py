# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals over questions, and settings that can be told apart."""

import pytest

from s1_client.evaluation import compare, interval
from s1_client.evaluation._intervals import wilson


def scores(**settings):
    return {name: {f"q{number}": score for number, score in enumerate(values)} for name, values in settings.items()}


def test_an_interval_is_about_two_standard_errors_wide_and_repeats():
    low, high = interval([0.0, 1.0] * 50)
    assert (low, high) == (pytest.approx(0.4, abs=0.02), pytest.approx(0.6, abs=0.02))
    assert interval([0.0, 1.0] * 50) == (low, high)


def test_equal_scores_do_not_make_a_sure_thing():
    """Resampling 8 of 8 gives only 8 of 8."""
    assert interval([1.0] * 8) == wilson(8, 8)


def test_equal_differences_do_not_make_a_sure_thing():
    """No question of 30 differs: then one in ten might all the same. Of six that all differ, not all need to."""
    same = compare("a", "b", scores(a=[0.0, 1.0] * 15, b=[0.0, 1.0] * 15))
    assert (same.low, same.high) == (-same.high, wilson(0, 30)[1]) and 0.1 < same.high < 0.12
    assert not same.can_be_told_apart
    every = compare("a", "b", scores(a=[0.0] * 6, b=[1.0] * 6))
    assert every.can_be_told_apart and (every.low, every.high) == (1 - wilson(0, 6)[1], 1.0)


def test_pairing_finds_differences_that_single_intervals_do_not():
    """All 10 differences have the same sign, among 40 questions that vary much more."""
    first = [0.0] * 10 + [0.0, 1.0] * 15
    second = [1.0] * 10 + [0.0, 1.0] * 15
    assert interval(first)[1] > interval(second)[0]
    found = compare("a", "b", scores(a=first, b=second))
    assert found.can_be_told_apart and found.num_different == 10
    assert found.sentence().startswith("b is better than a: +25.0 points")
    assert compare("b", "a", scores(a=first, b=second)).sentence().startswith("a is worse than b: -25.0 points")


def test_differences_of_both_signs_cannot_be_told_apart():
    found = compare("a", "b", scores(a=[0.0] * 10 + [1.0] * 10, b=[1.0] * 10 + [0.0] * 10))
    assert not found.can_be_told_apart
    assert found.sentence().startswith("a and b cannot be told apart with these 20 questions: +0.0 points")


def test_a_handful_of_differences_is_never_enough():
    """Three differences of the same sign: every draw agrees, but chance gives that in a quarter of cases."""
    found = compare("a", "b", scores(a=[0.0] * 3, b=[1.0] * 3))
    assert found.low > 0 and not found.can_be_told_apart
    assert found.sentence().endswith(", from 3 different questions"), "the interval alone would contradict the words"


def test_only_shared_questions_are_compared():
    assert compare("a", "b", {"a": {"x": 1.0, "y": 0.0}, "b": {"y": 1.0}}).num_questions == 1
    assert compare("a", "b", {"a": {"x": 1.0}, "b": {"y": 1.0}}) is None
