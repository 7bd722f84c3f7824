# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation: which there are, and what stands where."""

import pytest

from client.evaluation.made import TASK, entries, entry, reply
from s1_client.cli import _eval_figures
from s1_client.evaluation import Node, Protocol, Tree, report, report_of
from s1_client.evaluation._trees import tree_to_dict

PROTOCOL = Protocol(budgets=(16, 64), rejection_budgets=(16,))


def lines(thought):
    return {
        "budget 16": entries("budget 16", *[reply(thought=16, end="budget", answered=4)] * 2),
        "budget 64": entries("budget 64", reply(thought=40), reply("8", thought=60)),
        "rejection 16": entries("rejection 16", reply("8", thought=thought), reply("8", thought=thought)),
    }


def made(*names, repeats=1):
    kept = [one for name in names for one in lines(8)[name]]
    again = [
        entry(one["meta"]["question"], one["meta"]["setting"], one["reply"], repeat=repeat) for one in kept for repeat in range(repeats)
    ]
    return report(TASK, PROTOCOL.settings(), again, model="s1")


def drawn(figure):
    """Name of each line -> its points."""
    return {
        line.get_gid(): list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in figure.axes[0].get_lines() if line.get_gid()
    }


def test_scaling_has_a_line_for_each_curve_by_mean_thinking():
    assert drawn(_eval_figures.scaling(made("budget 16", "budget 64", "rejection 16"))) == {
        "none_refused": [(16, 1), (50, 0.5)],
        "rejection_sampling": [(8, 0)],
    }


def test_rejection_is_drawn_only_where_there_is_one():
    assert _eval_figures.rejection(made("budget 16")) is None
    assert set(drawn(_eval_figures.rejection(made("budget 16", "rejection 16")))) == {"none_refused", "rejection_sampling"}


def test_votes_stand_where_all_their_samples_are_paid_for():
    assert _eval_figures.parallel(made("budget 16")) is None
    found = drawn(_eval_figures.parallel(made("budget 16", "budget 64", repeats=4)))
    assert found["vote,_budget_16"] == [(20, 1), (40, 1), (80, 1)]
    assert found["vote,_budget_64"] == [(52, 0.5), (104, 0.5), (208, 0.5)]
    assert found["longer_thoughts_(none_refused)"] == [(20, 1), (52, 0.5)]


def test_searches_and_the_best_of_samples_stand_beside_them():
    protocol = Protocol(budgets=(16,), widths=(4,))
    answers = [entry("q0", "budget 16", reply("8" if repeat else "7", thought=14), repeat=repeat) for repeat in range(2)]
    scores = {one["id"]: float(place) for place, one in enumerate(answers)}
    leaf = Node(steps=("7",), score=1.0, end="answered", num_tokens=30)
    searched = entry("q0", "rebase 4", tree_to_dict(Tree(budget=64, nodes=[leaf])))
    found = report(TASK, protocol.settings(), [*answers, searched], model="s1", scores=scores)
    assert drawn(_eval_figures.parallel(found)) == {
        "longer_thoughts_(budget_forcing)": [(16, 0.5)],
        "vote,_budget_16": [(16, 0.5), (32, 1)],
        "best_by_reward,_budget_16": [(16, 0.5), (32, 0)],
        "REBASE": [(30, 1)],
    }
    assert "REBASE" not in drawn(_eval_figures.scaling(found))
    assert report_of(found.to_json()) == found


def test_bars_are_thinking_and_answer():
    bars = _eval_figures.tokens(made("budget 16", "budget 64")).axes[0].containers
    assert [[bar.get_width() for bar in kind] for kind in bars] == [[16, 50], [4, 2]]


@pytest.mark.parametrize("draw", _eval_figures.FIGURES.values())
def test_without_samples_there_is_no_figure(draw):
    assert draw(made()) is None


def test_equal_reports_are_equal_files(tmp_path):
    paths = [_eval_figures.draw_all(made("budget 16"), folder) for folder in (tmp_path / "a", tmp_path / "b") if folder.mkdir() is None]
    assert [path.name for path in paths[0]] == ["scaling.png", "scaling.svg", "tokens.png", "tokens.svg"]
    assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]
