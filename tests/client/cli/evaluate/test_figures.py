# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation: which there are, and what stands where."""

from dataclasses import replace

import pytest

from client.evaluation.made import TASK, entries, entry, reply
from s1_client.cli.evaluate import figures
from s1_client.evaluation import Node, Protocol, Tree, report, report_of
from s1_client.evaluation.search.tree_json import tree_to_dict

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
    assert drawn(figures.scaling(made("budget 16", "budget 64", "rejection 16"))) == {
        "none_refused": [(16, 1), (50, 0.5)],
        "rejection_sampling": [(8, 0)],
    }


def test_rejection_is_drawn_only_where_there_is_one():
    assert figures.rejection(made("budget 16")) is None
    assert set(drawn(figures.rejection(made("budget 16", "rejection 16")))) == {"none_refused", "rejection_sampling"}


def test_votes_stand_where_all_their_samples_are_paid_for():
    assert figures.parallel(made("budget 16")) is None
    found = drawn(figures.parallel(made("budget 16", "budget 64", repeats=4)))
    assert found["majority_vote,_budget_16"] == [(20, 1), (40, 1), (80, 1)]
    assert found["majority_vote,_budget_64"] == [(52, 0.5), (104, 0.5), (208, 0.5)]
    assert found["longer_thinking_(none_refused)"] == [(20, 1), (52, 0.5)]


CURVE = Protocol(budgets=(0, 16, -1), ignores=(0, 1, 2), ignore_at=(-1,), num_votes=4, vote_temperatures=(1.0,))


def forced(protocol=CURVE, *, without=()):
    """Return the report of a curve: one of eight is right at budget 0, and one more at each further setting."""
    thought = {"budget 0": 0, "budget 16": 16, "budget context": 32, "budget context + 1 refused": 64, "budget context + 2 refused": 128}
    kept = []
    for right, (name, number) in enumerate(thought.items(), 1):
        answers = [reply("7" if place < right else "8", thought=number, answered=4) for place in range(8)]
        kept += entries(name, *answers) if name not in without else []
    sampled = [
        entry(f"q{place}", "sampled at temperature 1", reply(thought=12, answered=4), repeat=r) for place in range(8) for r in range(4)
    ]
    return report(TASK, protocol.settings(), [*kept, *sampled], model="s1")


def labels(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_curve_goes_on_with_refused_ends_where_the_budgets_end():
    figure = figures.curve(forced())
    assert drawn(figure) == {
        "budget_(max_thinking_tokens)": [(0, 0.125), (16, 0.25), (32, 0.375)],
        "ends_of_thinking_refused_(num_ignore)": [(32, 0.375), (64, 0.5), (128, 0.625)],
    }
    assert {"0", "16", "natural end", "1 refused", "2 refused", "without thinking: 12%"} <= set(labels(figure))
    assert labels(figure).count("natural end") == 1
    axes = figure.axes[0]
    assert axes.get_ylim() == (0, 1) and axes.get_xscale() == "symlog"
    assert list(axes.get_xticks()) == [0, 16, 32, 64, 128]


def test_the_curve_has_the_interval_of_each_point():
    found = forced()
    bars = {(line.get_xdata()[0], *line.get_ydata()) for line in figures.curve(found).axes[0].get_lines() if not line.get_gid()}
    rows = [row for row in found.rows if row.kind == "budget"]
    assert {(row.mean_thinking_tokens, row.accuracy.low, row.accuracy.high) for row in rows} <= bars


def test_without_budget_0_the_curve_is_logarithmic_and_has_no_line_without_thinking():
    figure = figures.curve(forced(without=("budget 0",)))
    assert figure.axes[0].get_xscale() == "log"
    assert not any("without thinking" in label for label in labels(figure))


@pytest.mark.parametrize("without", [("budget 0", "budget 16"), ("budget context + 1 refused", "budget context + 2 refused")])
def test_half_a_curve_is_not_drawn(without):
    assert figures.curve(forced(without=without)) is None


def test_refused_ends_stand_beside_votes_by_all_their_tokens():
    assert drawn(figures.parallel(forced())) == {
        "ends_of_thinking_refused": [(36, 0.375), (68, 0.5), (132, 0.625)],
        "majority_vote,_sampled_at_temperature_1": [(16, 1), (32, 1), (64, 1)],
    }
    assert "sampled_at_temperature_1" not in drawn(figures.scaling(forced()))


def test_searches_and_the_best_of_samples_stand_beside_them():
    protocol = Protocol(budgets=(16,), widths=(4,))
    answers = [entry("q0", "budget 16", reply("8" if repeat else "7", thought=14), repeat=repeat) for repeat in range(2)]
    scores = {one["id"]: float(place) for place, one in enumerate(answers)}
    leaf = Node(steps=("7",), score=1.0, end="answered", num_tokens=30)
    searched = entry("q0", "rebase 4", tree_to_dict(Tree(budget=64, nodes=[leaf])))
    found = report(TASK, protocol.settings(), [*answers, searched], model="s1", scores=scores)
    assert drawn(figures.parallel(found)) == {
        "longer_thinking_(budget_forcing)": [(16, 0.5)],
        "majority_vote,_budget_16": [(16, 0.5), (32, 1)],
        "best_by_reward,_budget_16": [(16, 0.5), (32, 0)],
        "REBASE": [(30, 1)],
    }
    assert "REBASE" not in drawn(figures.scaling(found))
    assert report_of(found.to_json()) == found


def test_a_long_name_does_not_squeeze_the_axes():
    """The words under the title break into lines; they take no width from what is drawn."""
    short, long = made("budget 16", "budget 64"), replace(made("budget 16", "budget 64"), task="a task with a name of many words " * 5)
    widths = [figures.scaling(one).axes[0].get_window_extent().width for one in (short, long)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)


def test_the_axis_of_accuracies_ends_at_0_and_at_100_percent():
    lines = [*entries("budget 16", *[reply("8", thought=16)] * 8), *entries("budget 64", *[reply("7", thought=64)] * 8)]
    figure = figures.scaling(report(TASK, PROTOCOL.settings(), lines, model="s1"))
    assert figure.axes[0].get_ylim() == (0, 1)


def test_settings_without_a_thought_for_each_question_are_hollow():
    """Their tokens are of accepted replies alone, and their accuracy counts the others as wrong."""
    found = report(TASK, PROTOCOL.settings(), entries("rejection 16", reply(thought=9), reply(end="budget")), model="s1")
    axes = figures.scaling(found).axes[0]
    assert "hollow" in axes.get_legend_handles_labels()[1][-1]
    assert not any("hollow" in name for name in figures.scaling(made("rejection 16")).axes[0].get_legend_handles_labels()[1])


def test_bars_are_thinking_and_answer():
    bars = figures.tokens(made("budget 16", "budget 64")).axes[0].containers
    assert [[bar.get_width() for bar in kind] for kind in bars] == [[16, 50], [4, 2]]


@pytest.mark.parametrize("draw", figures.FIGURES.values())
def test_without_samples_there_is_no_figure(draw):
    assert draw(made()) is None


def test_equal_reports_are_equal_files(tmp_path):
    paths = [figures.draw_all(made("budget 16"), folder) for folder in (tmp_path / "a", tmp_path / "b") if folder.mkdir() is None]
    assert [path.name for path in paths[0]] == ["scaling.png", "scaling.svg", "tokens.png", "tokens.svg"]
    assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]


def test_no_text_in_a_figure_is_obeyed_by_what_shows_it(tmp_path):
    """Names of tasks, models and folders, and ignore strings, are texts of others."""
    odd = "\x1b[31m\u202eHm"
    protocol = Protocol(budgets=(16, 64), ignores=(1,), ignore_strs=(odd,))
    kept = [line for setting in protocol.settings() for line in entries(setting.name, *[reply(thought=16)] * 2)]
    found = report(replace(TASK, name=odd), protocol.settings(), kept, model=odd)
    paths = [*figures.draw_all(found, tmp_path), *figures.draw_versus({odd: found}, tmp_path)]
    texts = {path.name: path.read_text() for path in paths if path.suffix == ".svg"}
    assert {"scaling.svg", "tokens.svg", "comparison.svg"} <= texts.keys()
    assert all("Hm" in text and "\u202e" not in text and "\x1b" not in text and "&#27;" not in text for text in texts.values())
