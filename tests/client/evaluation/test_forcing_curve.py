# SPDX-License-Identifier: Apache-2.0
"""The curve of budget forcing: which settings are on it, its metrics, its steps, and votes beside it."""

import pytest

from client.evaluation.made import TASK, entries, entry, reply
from s1_client.cli.evaluate.tables import sentences
from s1_client.evaluation import Protocol, report
from s1_client.evaluation._forcing_curve import forcing_curve
from s1_client.evaluation._steps import steps

PAPER = Protocol(budgets=(0, 16, -1), ignores=(0, 1, 2), ignore_at=(-1,))
RIGHT = {"budget 0": 0, "budget 16": 1, "budget context": 2, "budget context + 1 refused": 8, "budget context + 2 refused": 8}
THOUGHT = dict(zip(RIGHT, (0, 16, 32, 64, 128), strict=True))


def replies(right, **rest):
    """Return replies to the eight questions, the first ``right`` of them right."""
    return [reply("7" if number < right else "8", **rest) for number in range(len(TASK.questions))]


def made(protocol=PAPER):
    lines = [line for name, right in RIGHT.items() for line in entries(name, *replies(right, thought=THOUGHT[name]))]
    return report(TASK, protocol.settings(), lines, model="s1")


def names(settings):
    return [setting.name for setting in settings]


@pytest.mark.parametrize("ignore_at", [(), (-1,), (64, -1)])
def test_refused_ends_follow_the_largest_budget(ignore_at):
    """Of the whole grid those at smaller budgets are left out."""
    found = forcing_curve(Protocol(budgets=(64, -1, 0), ignores=(2, 0, 1), ignore_at=ignore_at).settings())
    assert names(found.budgets) == ["budget 0", "budget 64", "budget context"]
    assert {string: names(tail) for string, tail in found.refused.items()} == {
        "": ["budget context + 1 refused", "budget context + 2 refused"]
    }


def test_each_ignore_string_has_its_end_of_the_curve():
    found = forcing_curve(Protocol(budgets=(0, 64), ignores=(0, 1), ignore_strs=("Wait", "Hmm")).settings())
    assert {string: names(tail) for string, tail in found.refused.items()} == {
        "'Wait'": ["budget 64 + 1 refused by 'Wait'"],
        "'Hmm'": ["budget 64 + 1 refused by 'Hmm'"],
    }
    assert found.names["'Hmm'"] == "budgets, then refused ends by 'Hmm'"


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(budgets=(0, 16, -1)),
        Protocol(budgets=(-1,), ignores=(0, 1)),
        Protocol(budgets=(0, 16), ignores=(1,)),
        Protocol(budgets=(0, 16, -1), ignores=(0, 1), ignore_at=(16,)),
        Protocol(rejection_budgets=(16, 32)),
    ],
)
def test_without_both_parts_there_is_no_curve(protocol):
    assert forcing_curve(protocol.settings()) is None


def test_its_metrics_cover_both_parts():
    """As those of the paper's table 3, which runs over all points of figure 1."""
    curves = {curve.name: curve for curve in made().curves}
    whole = curves["budgets, then refused ends"]
    assert (whole.num_settings, whole.performance, whole.control) == (5, 100, 100)
    doublings = [(12.5, 1), (87.5, 2), (87.5, 3), (75, 1), (75, 2), (0, 1)]  # points and doublings of each pair, without budget 0
    assert whole.scaling_log2 == pytest.approx(sum(points / number for points, number in doublings) / 6)
    assert curves["none refused"].num_settings == 3


def test_each_step_has_its_effect_with_an_interval():
    assert [step.sentence().partition(" points")[0] for step in steps(made())] == [
        "budget 0 → natural end: +25.0",
        "natural end → 1 refused: +75.0",
        "1 refused → 2 refused: +0.0",
    ]
    told = list(sentences(made()))
    unseen = "no effect can be told from chance with these 8 questions"
    assert f"1 refused → 2 refused: +0.0 points, 95% interval -32.4 to +32.4; {unseen}" in told
    assert not any(line.startswith("budget context + 1 refused is better than budget context:") for line in told), "it is told once"
    assert sum("pairs were compared" in line for line in told) == 1


def test_a_vote_of_samples_is_compared_with_each_number_of_refused_ends():
    """Question by question: here two of three samples are right for the first two questions, and the vote with them."""
    protocol = Protocol(budgets=(0, -1), ignores=(0, 1), ignore_at=(-1,), num_votes=3, vote_temperatures=(0.5,))
    sampled = [
        entry(f"q{number}", "sampled at temperature 0.5", reply("7" if number < 2 and repeat < 2 else str(repeat)), repeat=repeat)
        for number in range(8)
        for repeat in range(3)
    ]
    lines = [line for name in ("budget 0", "budget context", "budget context + 1 refused") for line in entries(name, *replies(RIGHT[name]))]
    found = report(TASK, protocol.settings(), [*lines, *sampled], model="s1")
    vote = next(row for row in found.rows if row.kind == "sampled")
    assert {k: round(share.value, 3) for k, share in vote.majority.items()} == {"1": 0.25, "2": 0.25, "3": 0.25}
    first = found.comparisons[0]
    assert (first.first, first.second) == ("the vote of 3 sampled at temperature 0.5", "budget context + 1 refused")
    assert (first.difference, first.num_different, first.can_be_told_apart) == (0.75, 6, True)
