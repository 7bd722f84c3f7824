# SPDX-License-Identifier: Apache-2.0
"""Reports: rows, curves and comparisons of an evaluation, and sentences about settings without effect."""

import csv
import io
from dataclasses import replace

import pytest

from client.evaluation.made import TASK, entries, entry, reply
from s1_client.evaluation import GRADERS, Node, Protocol, Tree, report, report_of
from s1_client.evaluation._intervals import wilson
from s1_client.evaluation.grading.judge import Ungraded
from s1_client.evaluation.search.tree_json import tree_to_dict


def make_report(protocol, lines):
    return report(TASK, protocol.settings(), lines, model="s1")


def rows(found):
    return {row.setting: row for row in found.rows}


def test_a_setting_is_counted():
    lines = [*entries("budget 16", reply(thought=16, end="budget"), reply("8", thought=8, answered=4)), entry("q2", "budget 16")]
    row = rows(make_report(Protocol(budgets=(16,)), lines))["budget 16"]
    assert (row.num_questions, row.num_samples, row.num_failed, row.num_unaccepted) == (2, 2, 1, 0)
    assert (row.mean_thinking_tokens, row.mean_answer_tokens, row.mean_spent_tokens) == (12, 3, 15)
    assert row.thinking_ends == {"budget": 1, "natural": 1}
    assert row.accuracy.low < row.accuracy.value == 0.5 < row.accuracy.high


def test_answers_that_were_cut_are_counted_and_reported():
    """Only accepted replies count; the cap that cut an answer may have changed its grade."""
    protocol = Protocol(budgets=(0, 16), rejection_budgets=(8,))
    cut = {"end": "budget", "answer_end": "length", "max_tokens": 24}
    lines = [
        *entries("budget 0", reply(**cut, thinking="a"), reply(**cut), reply(answer_end="empty")),
        *entries("budget 16", reply(), reply(**cut)),
        *entries("rejection 8", reply(**cut), reply(thinking="another")),
    ]
    found = make_report(protocol, lines)
    assert {name: row.share_answers_cut for name, row in rows(found).items()} == {"budget 0": 2 / 3, "budget 16": 1 / 2, "rejection 8": 0}
    assert (rows(found)["budget 0"].answer_ends, rows(found)["budget 0"].max_tokens) == ({"length": 2, "empty": 1}, 24)
    assert found.effects[0].startswith("answers were cut at max_tokens 24 in 2 of 3 settings, most at budget 0: 2 of 3. They are graded as")
    assert not any("answers were cut" in sentence for sentence in make_report(protocol, entries("budget 0", reply())).effects)


def test_a_report_is_a_table_for_other_programs():
    cut = reply("8", thought=16, end="budget", answer_end="length", max_tokens=9)
    lines = [*entries("budget 16", reply(thought=8), cut), entry("q0", "budget 32")]
    first, second = csv.DictReader(io.StringIO(make_report(Protocol(budgets=(16, 32)), lines).to_csv()))
    expected = {"mean_thinking_tokens": 12, "share_thinking_cut": 0.5, "share_answers_cut": 0.5, "accuracy": 0.5, "max_tokens": 9}
    assert {name: float(first[name]) for name in expected} == expected
    assert float(first["accuracy_low"]) < 0.5 < float(first["accuracy_high"])
    assert (second["setting"], second["num_failed"], second["accuracy"], second["mean_thinking_tokens"]) == ("budget 32", "1", "", "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Ungraded("the judge replied 'perhaps'"), "the judge replied 'perhaps'"), (ZeroDivisionError("oops"), "ZeroDivisionError: oops")],
)
def test_an_answer_that_cannot_be_graded_counts_as_wrong_and_is_reported(monkeypatch, error, reason):
    """No content of a reply or of a verdict ends the evaluation."""

    def odd(answer, expected):
        if answer == "odd":
            raise error
        return True

    monkeypatch.setitem(GRADERS, "integer", odd)
    found = make_report(Protocol(budgets=(16,)), entries("budget 16", reply("7"), reply("odd")))
    assert rows(found)["budget 16"].accuracy.value == 0.5
    assert f"budget 16: 1 of 2 answers could not be graded and count as wrong; {reason}" in found.effects


def test_lines_of_other_questions_and_settings_are_left_out():
    found = make_report(Protocol(budgets=(16,)), [entry("q9", "budget 16", reply()), entry("q0", "budget 8", reply())])
    assert found.rows == []


def test_a_report_survives_conversion_to_json():
    protocol = Protocol(budgets=(16, 32), rejection_budgets=(8,))
    lines = [line for name in ("budget 16", "budget 32", "rejection 8") for line in entries(name, reply(), reply("8", thinking=name))]
    found = make_report(protocol, lines)
    assert report_of(found.to_json()) == found


def test_votes_count_the_first_samples_of_a_question():
    answers = ("7", "8", "8", "8")
    lines = [entry("q0", "budget 16", reply(answer), repeat=repeat) for repeat, answer in enumerate(answers)]
    row = rows(make_report(Protocol(budgets=(16,)), reversed(lines)))["budget 16"]
    assert {k: vote.value for k, vote in row.majority.items()} == {"1": 1, "2": 1, "4": 0}
    assert (row.majority["4"].low, row.majority["4"].high) == pytest.approx(wilson(0, 1))
    assert row.pass_at == {"1": 0.25, "2": pytest.approx(0.5), "4": 1}
    assert row.accuracy.value == 0.25


def test_trees_without_an_answer_that_the_model_ended_are_reported():
    leaf = Node(steps=("7",), score=1.0, end="budget", num_tokens=30)
    found = make_report(Protocol(widths=(4,)), [entry("q0", "rebase 4", tree_to_dict(Tree(budget=30, nodes=[leaf])))])
    row = rows(found)["rebase 4"]
    assert (row.accuracy.value, row.mean_spent_tokens, row.mean_thinking_tokens) == (1, 30, 0)
    assert found.effects[0].startswith("rebase 4: in no tree did the model end an answer")
    (curve,) = found.curves
    assert (curve.control, curve.scaling_log2, curve.scaling_linear, curve.performance) == (None, None, None, 100)


def test_the_first_accepted_attempt_of_rejection_sampling_counts():
    name, protocol = "rejection 16", Protocol(rejection_budgets=(16,))
    lines = [
        entry("q0", name, reply("7", end="budget", thought=16)),
        entry("q0", name, reply("8", thought=6), attempt=1),
        entry("q1", name, reply("7", end="budget", thought=16)),
        entry("q1", name, reply("7", end="budget", thought=16), attempt=1),
    ]
    found = make_report(protocol, reversed(lines))
    row = rows(found)[name]
    assert (row.accuracy.value, row.num_unaccepted, row.mean_attempts) == (0, 1, 2)
    assert (row.mean_thinking_tokens, row.mean_spent_tokens) == (6, (16 + 2 + 6 + 2 + 2 * 18) / 2)
    assert (row.accuracy_of_accepted.value, row.accuracy_of_accepted.high < 1) == (0, True)
    rejected = "1 of 2 have no thinking within the budget after up to 2 attempts; they count as wrong, in comparisons too"
    assert found.effects == [f"rejection 16: {rejected}; of the other 1, 0 are right"]


def test_metrics_are_those_of_each_curve():
    protocol = Protocol(budgets=(16, 32), ignores=(0, 1))
    lines = [
        *entries("budget 16", reply("8", thought=16, end="budget"), reply("8", thought=16, end="budget")),
        *entries("budget 32", reply("7", thought=32, end="budget"), reply("8", thought=32, end="budget")),
    ]
    (curve, empty) = make_report(protocol, lines + entries("budget 16 + 1 refused", reply(ignored=1))).curves
    assert (curve.name, curve.control, curve.scaling_log2, curve.scaling_linear, curve.performance) == (
        "none refused",
        100,
        50,
        50 / 16,
        50,
    )
    assert (empty.name, empty.scaling_log2) == ("1 refused", None)


def test_a_budget_with_several_ignores_is_a_curve():
    (curve,) = make_report(
        Protocol(budgets=(-1,), ignores=(0, 1)), [*entries("budget context", reply()), *entries("budget context + 1 refused", reply())]
    ).curves
    assert (curve.name, curve.num_settings, curve.control) == ("budget forcing", 2, None)


@pytest.mark.parametrize(("long", "short", "control"), [(30, 10, 100), (30, 25, 50), (15, 25, 0)])
def test_long_and_short_prompts_are_compared_with_the_unlimited_setting(long, short, control):
    protocol = Protocol(budgets=(-1,), class_prompts={"long": "…", "short": "…"})
    lengths = {"budget context": 20, "prompted to think long": long, "prompted to think short": short}
    found = make_report(protocol, [line for name, number in lengths.items() for line in entries(name, reply(thought=number))])
    assert {curve.name: curve.control for curve in found.curves}["class prompts"] == control


# --- effects --------------------------------------------------------------------------------------


def test_a_budget_that_cut_nothing_had_no_effect():
    found = make_report(Protocol(budgets=(64,)), entries("budget 64", reply(thought=9), reply(thought=12)))
    below = "the thinking of all 2 replies ended by itself below it, the longest after 12 tokens"
    assert found.effects == [f"budget 64: the budget had no effect; {below}"]


def test_the_only_reply_is_called_so():
    found = make_report(Protocol(budgets=(64,)), entries("budget 64", reply(thought=9)))
    below = "the thinking of the only reply ended by itself below it after 9 tokens"
    assert found.effects == [f"budget 64: the budget had no effect; {below}"]


def test_failed_requests_are_reported_with_their_effect():
    """A deadline hits the long replies, so what is left looks better than the model is."""
    lines = [*entries("budget 16", *[reply(end="budget")] * 3), *entries("budget 32", reply(end="budget", thinking="…"), None, None)]
    found = make_report(Protocol(budgets=(16, 32)), lines)
    where = "2 requests failed in 1 of 2 settings, most at budget 32: 2 beside 1 with a reply"
    assert found.effects[0].startswith(f"{where}. No figure counts them, so settings may rest on different questions")
    assert rows(found)["budget 32"].accuracy.value == 1.0
    without = make_report(Protocol(budgets=(16,)), lines[:3])
    assert not any("failed" in sentence for sentence in without.effects)


def test_accuracies_that_rest_on_a_part_of_the_replies_are_reported():
    questions = (*TASK.questions[:2], replace(TASK.questions[2], expected=None, grading=""))
    lines = [*entries("budget 16", *[reply(end="budget")] * 3), *entries("budget 32", *[reply(end="budget", thinking="…")] * 2)]
    found = report(replace(TASK, questions=questions), Protocol(budgets=(16, 32)).settings(), lines, model="m")
    assert [(row.num_graded, row.num_samples) for row in found.rows] == [(2, 3), (2, 2)]
    part = "in 1 of 2 settings, fewest at budget 16: 2 of 3 have a known right answer"
    assert found.effects == [f"accuracies rest on a part of the replies {part}"]


@pytest.mark.parametrize("lines", [entries("budget 64", reply(), reply(end="budget")), entries("budget 0", reply(end="skipped"))])
def test_a_budget_that_cut_a_thought_had_an_effect(lines):
    assert make_report(Protocol(budgets=(0, 64)), lines).effects == []


def test_a_thinking_prefix_that_does_not_fit_is_reported_instead_of_no_effect():
    """Without the prefix the model ends its thinking at once: a large effect of the budget."""
    lost = "budget 4: the preset's thinking prefix does not fit into the budget and was left out"
    nothing = {"thinking": "", "thought": 0, "thinking_prefix": None}
    empty = entries("budget 4", reply(**nothing), reply("8", **nothing))
    assert make_report(Protocol(budgets=(4,)), empty).effects == [
        lost,
        "budget 4: the thinking of all 2 replies is empty; the model ended it at once",
    ]
    short = entries("budget 4", reply(thought=2, thinking_prefix=None))
    assert make_report(Protocol(budgets=(4,)), short).effects == [lost]
    fits = entries("budget 4", reply(thought=2, thinking_prefix="So"))
    assert make_report(Protocol(budgets=(4,)), fits).effects[0].startswith("budget 4: the budget had no effect")


def test_ignores_that_the_budget_prevented_are_reported():
    protocol = Protocol(budgets=(16,), ignores=(2,))
    name = "budget 16 + 2 refused"
    assert make_report(protocol, entries(name, reply(end="budget"))).effects == [
        f"{name}: no end of thinking was refused; the budget was spent before the first"
    ]
    assert "no reply had more than 1 of its ends refused" in make_report(protocol, entries(name, reply(end="budget", ignored=1))).effects[0]
    assert make_report(protocol, entries(name, reply(end="budget", ignored=2))).effects == []


def test_settings_with_identical_replies_are_reported():
    lines = [*entries("budget 16", reply(end="budget"), reply("8")), *entries("budget 32", reply(end="budget"), reply("8"))]
    lines += entries("budget 64", reply(end="budget", thinking="another"), reply("8"))
    expected = "budget 16 = budget 32: all replies are identical, so these settings measured the same"
    assert make_report(Protocol(budgets=(16, 32, 64)), lines).effects == [expected]


def test_rejection_sampling_that_rejected_nothing_is_reported():
    assert make_report(Protocol(rejection_budgets=(16,)), entries("rejection 16", reply())).effects == [
        "rejection 16: nothing was rejected; this is plain sampling"
    ]


def test_each_pair_of_a_curve_is_compared():
    right, wrong = [reply("7", end="budget")] * 8, [reply("8", end="budget")] * 8
    found = make_report(
        Protocol(budgets=(16, 32, 64)), [*entries("budget 16", *wrong), *entries("budget 32", *wrong), *entries("budget 64", *right)]
    )
    assert [(pair.first, pair.second, pair.can_be_told_apart) for pair in found.comparisons] == [
        ("budget 16", "budget 32", False),
        ("budget 16", "budget 64", True),
        ("budget 32", "budget 64", True),
    ]


def test_the_same_budget_with_and_without_refused_ends_is_compared():
    """The paper's table of strings compares so; settings that differ in two respects are not compared."""
    protocol = Protocol(budgets=(16, 32), ignores=(0, 1), ignore_strs=("Wait", "Hmm"))
    found = make_report(protocol, [line for setting in protocol.settings() for line in entries(setting.name, reply())])
    pairs = {(pair.first, pair.second) for pair in found.comparisons}
    assert ("budget 16", "budget 16 + 1 refused by 'Wait'") in pairs
    assert ("budget 16 + 1 refused by 'Wait'", "budget 16 + 1 refused by 'Hmm'") in pairs
    assert ("budget 16", "budget 32 + 1 refused by 'Wait'") not in pairs
    assert len(pairs) == 3 + 2 * 3
