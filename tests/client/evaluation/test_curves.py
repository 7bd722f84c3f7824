# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals of Control, Scaling and Performance; all settings of a curve share the resampled questions."""

import pytest

from client.evaluation.made import TASK, entries, reply
from s1_client.evaluation import Protocol, compare, report
from s1_client.evaluation._intervals import wilson

PROTOCOL = Protocol(budgets=(16, 32))


def curve_of(lines, protocol=PROTOCOL):
    (curve,) = report(TASK, protocol.settings(), lines, model="s1").curves
    return curve


def graded_replies(setting, grades, thought, end="budget"):
    """Return a reply to each question, right where ``grades`` has a 1."""
    return entries(setting, *(reply("7" if grade == "1" else "8", thought=thought, end=end) for grade in grades))


def test_scaling_between_two_settings_is_as_sure_as_their_difference():
    """From 16 to 32 tokens is a doubling: points per doubling equal the difference in every draw of the questions."""
    first, second = "00000101", "00111111"
    curve = curve_of([*graded_replies("budget 16", first, 16), *graded_replies("budget 32", second, 32)])
    scores = {name: {f"q{place}": float(grade) for place, grade in enumerate(grades)} for name, grades in (("a", first), ("b", second))}
    pair = compare("a", "b", scores)
    assert curve.scaling_log2 == 100 * pair.difference == 50
    assert curve.scaling_log2_interval == pytest.approx((100 * pair.low, 100 * pair.high))
    assert curve.scaling_linear_interval == pytest.approx((100 * pair.low / 16, 100 * pair.high / 16))


def test_settings_that_answer_alike_have_no_scaling_in_any_draw():
    """Both settings vary together with the questions; resampled separately they would not."""
    curve = curve_of([*graded_replies("budget 16", "00001111", 16), *graded_replies("budget 32", "00001111", 32)])
    assert (curve.scaling_log2, curve.scaling_log2_interval) == (0, None)
    low, high = curve.performance_interval
    assert low < curve.performance == 50 < high


def test_the_interval_repeats():
    lines = [*graded_replies("budget 16", "00000101", 16), *graded_replies("budget 32", "00111111", 32)]
    assert curve_of(lines) == curve_of(lines)


def test_a_limit_that_is_kept_on_average_only_is_kept_in_some_draws():
    """Half of the replies think for 10 tokens and half for 21: the mean is just below 16."""
    lines = entries("prompted 16 tokens", *(reply(thought=10 if place % 2 else 21) for place in range(8)))
    curve = curve_of(lines, Protocol(token_limits=(16,)))
    assert (curve.control, curve.control_interval) == (100, (0, 100))


def test_long_prompts_are_compared_with_the_unlimited_setting_of_the_same_draw():
    """Each thinking is longer than the unlimited one for the same question, but not than those for other questions."""
    protocol = Protocol(budgets=(-1,), class_prompts={"long": "…"})
    lengths = range(10, 90, 10)
    lines = [*entries("budget context", *(reply(thought=number) for number in lengths))]
    lines += entries("prompted to think long", *(reply(thought=number + 1) for number in lengths))
    curve = report(TASK, protocol.settings(), lines, model="s1").curves[1]
    assert (curve.name, curve.control, curve.control_interval) == ("class prompts", 100, (100, 100))


def test_a_single_question_gives_no_certainty():
    lines = [*graded_replies("budget 16", "0", 16), *graded_replies("budget 32", "1", 32)]
    curve = curve_of(lines)
    assert (curve.scaling_log2, curve.scaling_log2_interval) == (100, None)
    assert curve.performance_interval == pytest.approx(tuple(100 * number for number in wilson(1, 1)))


def test_a_setting_that_some_questions_lack_counts_where_it_is():
    curve = curve_of([*graded_replies("budget 16", "00110011", 16), *graded_replies("budget 32", "01", 32)])
    low, high = curve.scaling_log2_interval
    assert low < curve.scaling_log2 == 0 < high
