# SPDX-License-Identifier: Apache-2.0
"""The scaling plot of sweeps and evaluations: its points, axes and labels."""

import itertools
import re
import struct
from xml.etree import ElementTree as ET

import pytest

from s1_client.cli.evaluate import figures
from s1_client.cli.plots.labels import Box, place
from s1_client.cli.plots.points import shifted_lines
from s1_client.cli.plots.style import COLOURS, MARKERS
from s1_client.evaluation import Report, Row
from s1_client.evaluation._intervals import estimate

SVG = "{http://www.w3.org/2000/svg}"


def row(budget, ignore, thinking, *, right=None, number=20, answer=10.0):
    accuracy = None if right is None else estimate([1.0] * right + [0.0] * (number - right))
    counts = {
        "num_questions": number,
        "num_samples": number,
        "num_graded": 0 if right is None else number,
        "num_failed": 0,
        "num_unaccepted": 0,
        "num_ignore": ignore,
    }
    means = {"mean_attempts": 1.0, "mean_thinking_tokens": thinking, "mean_answer_tokens": answer, "mean_spent_tokens": thinking}
    empty = {"thinking_ends": {}, "answer_ends": {}, "majority": {}, "best_of": {}, "pass_at": {}}
    none = {"share_answers_cut": None, "max_tokens": None, "accuracy_of_accepted": None, "mean_ignored": None}
    curve = f"{ignore} refused"
    return Row(setting=f"budget {budget}", kind="budget", curve=curve, limit=budget, accuracy=accuracy, **counts, **means, **empty, **none)


def report(*rows):
    return Report(task="made", model="s1", presets=["smollm2"], rows=rows, curves=[], effects=[], comparisons=[])


GRADED = report(
    row(0, 0, 0.0, right=4),
    row(64, 0, 60.0, right=9),
    row(512, 0, 300.0, right=12),
    row(0, 1, 0.0, right=4),
    row(64, 1, 61.0, right=9),
    row(512, 1, 480.0, right=15),
)
OPEN = report(row(50, 0, 48.0, answer=12.0, number=1), row(100, 0, 90.0, answer=8.0, number=1))


def drawn_lines(figure):
    """Return the drawn points of each line, by the name of the line."""
    lines = [line for line in figure.axes[0].get_lines() if line.get_gid()]
    return {line.get_gid(): list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in lines}


def texts(path):
    return ["".join(one.itertext()).strip() for one in ET.parse(path).getroot().iter(f"{SVG}text")]


def test_a_line_for_each_number_of_ignores_and_a_point_for_each_budget():
    assert drawn_lines(figures.scaling(GRADED)) == {
        "0_refused": [(0.0, 0.2), (60.0, 0.45), (300.0, 0.6)],
        "1_refused": [(0.0, 0.2), (61.0, 0.45), (480.0, 0.75)],
    }


def test_bars_are_the_intervals():
    bars = [line for line in figures.scaling(GRADED).axes[0].get_lines() if not line.get_gid()]
    expected = [(row.accuracy.low, row.accuracy.high) for row in GRADED.rows[:2]]
    assert [tuple(bar.get_ydata()) for bar in bars[:2]] == expected


def test_without_right_answers_y_is_the_answers_length():
    figure = figures.scaling(OPEN)
    assert drawn_lines(figure) == {"0_refused": [(48.0, 12.0), (90.0, 8.0)]}
    assert figure.axes[0].get_ylabel() == "answer, tokens per reply (mean)"
    assert "Answer length by thinking" in figure.axes[0].get_title(loc="left")


def test_the_svg_says_what_it_shows(tmp_path):
    _, svg = figures.draw_scaling(GRADED, tmp_path / "sweep")
    found = texts(svg)
    assert "Accuracy by thinking" in found
    assert "task made, 20 questions · model s1, preset smollm2 · labels: budget (max_thinking_tokens)" in found
    assert "ends of thinking refused, at most (num_ignore):" in found
    assert "thinking, tokens per reply (mean)" in found
    assert "right answers, % (bars: 95% interval)" in found
    assert [found.count(budget) for budget in ("64", "512")] == [1, 2]  # 64 has one label, for two points that all but coincide
    root = ET.parse(svg).getroot()
    for number in (0, 1):
        group = next(one for one in root.iter(f"{SVG}g") if one.get("id") == f"{number}_refused")
        assert COLOURS[number].lower() in ET.tostring(group, encoding="unicode")
        assert len(list(group.iter(f"{SVG}use"))) == 3


def test_the_png_is_large_enough_to_be_read_and_equal_reports_make_equal_files(tmp_path):
    one, other = figures.draw_scaling(GRADED, tmp_path / "one"), figures.draw_scaling(GRADED, tmp_path / "other")
    assert struct.unpack(">II", one[0].read_bytes()[16:24]) == (1440, 920)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


@pytest.mark.parametrize(
    ("thinking", "scale"),
    [([0, 10, 99], "linear"), ([0, 10, 100], "symlog"), ([10, 99], "linear"), ([10, 100], "log"), ([0], "linear"), ([5], "linear")],
)
def test_the_axis_is_logarithmic_only_if_it_must(thinking, scale):
    rows = [row(number, 0, float(number), right=5) for number in thinking]
    axes = figures.scaling(report(*rows)).axes[0]
    assert axes.get_xscale() == scale
    assert ("log scale" in axes.get_xlabel()) == (scale != "linear")
    low, high = axes.get_xlim()
    assert low < min(thinking) and max(thinking) < high


def test_accuracy_is_in_percent_and_within_0_and_100():
    axes = figures.scaling(report(row(1, 0, 1.0, right=20), row(2, 0, 2.0, right=0))).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "0" and labels[-1] == "100"
    axes.set_yticks([0.1, 0.125, 0.15])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10", "12.5", "15"], "12.5 is not 12"


def test_budgets_that_lead_to_one_place_have_one_point():
    """Beyond the length of the model's thinking, a larger budget changes nothing."""
    equal = (row(64, 0, 40.0, right=9), row(128, 0, 40.1, right=9), row(-1, 0, 40.0, right=9))
    axes = figures.scaling(report(row(16, 0, 16.0, right=5), *equal)).axes[0]
    assert [len(line.get_xdata()) for line in axes.get_lines() if line.get_gid()] == [2]
    assert [text.get_text() for text in axes.texts[1:]] == ["16", "64–context"]


def test_budgets_of_different_accuracy_keep_their_points():
    lines = drawn_lines(figures.scaling(report(row(64, 0, 40.0, right=9), row(128, 0, 40.0, right=8))))
    assert lines == {"0_refused": [(40.0, 0.45), (40.0, 0.4)]}


def test_settings_without_replies_are_left_out():
    assert drawn_lines(figures.scaling(report(row(1, 0, None), row(2, 0, 2.0)))) == {"0_refused": [(2.0, 10.0)]}
    assert figures.scaling(report(row(1, 0, None))) is None


def test_more_lines_than_colours_still_differ():
    """From the eighth line on, only the shift differs."""
    looks = [(line.colour, line.marker) for line in shifted_lines({str(number): [] for number in range(9)})]
    assert len(set(looks)) == len(COLOURS) == len(MARKERS)


# --- labels ---------------------------------------------------------------------------------------


def test_labels_of_a_full_plot_do_not_cover_each_other():
    rows = [
        row(budget, ignore, budget * (0.9 + 0.1 * ignore), right=5 + ignore + number)
        for ignore in range(3)
        for number, budget in enumerate((8, 16, 32, 64, 128, 256))
    ]
    figure = figures.scaling(report(*rows))
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if re.fullmatch(r"\d+", text.get_text())]
    assert len(boxes) >= 12
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_a_label_stands_above_its_point_if_nothing_is_there():
    frame, point = Box(50, 50, 50, 50), Box(50, 50, 2, 2)
    (label,) = place([point], [(10, 6)], [], frame, gap=1)
    assert (label.x, label.y) == (50, 56)


def test_a_label_gives_way():
    frame, point = Box(50, 50, 50, 50), Box(50, 97, 2, 2)
    (label,) = place([point], [(10, 6)], [Box(50, 91, 5, 3)], frame, gap=1)
    assert (label.x, label.y) == (58, 97)  # above is outside, below is taken
