# SPDX-License-Identifier: Apache-2.0
"""The plot of a sweep: what stands where, and that it can be read."""

import itertools
import re
import struct
from xml.etree import ElementTree as ET

import pytest

from s1_client.cli.evaluate import sweep_plot as plot
from s1_client.cli.evaluate.sweep_plot import lines_of
from s1_client.cli.evaluate.sweep_summary import Row, Summary
from s1_client.cli.plots.labels import Box, place
from s1_client.cli.plots.style import COLOURS, MARKERS
from s1_client.evaluation._intervals import wilson

SVG = "{http://www.w3.org/2000/svg}"


def row(budget, ignore, thinking, *, right=None, number=20, answer=10.0):
    low, high = (None, None) if right is None else wilson(right, number)
    return Row(
        max_thinking_tokens=budget,
        num_ignore=ignore,
        num_replies=number,
        num_failed=0,
        mean_thinking_tokens=thinking,
        mean_answer_tokens=answer,
        mean_ends_refused=0.0,
        share_cut=0.0,
        share_natural=1.0,
        share_answers_cut=0.0,
        num_graded=0 if right is None else number,
        num_right=right or 0,
        accuracy=None if right is None else right / number,
        accuracy_low=low,
        accuracy_high=high,
        median_s=1.0,
        thinking_ends={},
        answer_ends={},
    )


def summary(*rows, **rest):
    return Summary(**{"sweep": "x", "model": "s1", "presets": ["smollm2"], "num_questions": 20, "rows": rows, **rest})


GRADED = summary(
    row(0, 0, 0.0, right=4),
    row(64, 0, 60.0, right=9),
    row(512, 0, 300.0, right=12),
    row(0, 1, 0.0, right=4),
    row(64, 1, 61.0, right=9),
    row(512, 1, 480.0, right=15),
)
OPEN = summary(row(50, 0, 48.0, answer=12.0), row(100, 0, 90.0, answer=8.0), num_questions=1)


def drawn_lines(figure):
    """Number of ignores -> its points, as they were drawn."""
    lines = [line for line in figure.axes[0].get_lines() if line.get_gid()]
    return {line.get_gid(): list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in lines}


def texts(path):
    return ["".join(one.itertext()).strip() for one in ET.parse(path).getroot().iter(f"{SVG}text")]


def test_a_line_for_each_number_of_ignores_and_a_point_for_each_budget():
    lines = drawn_lines(plot.make_figure(GRADED))
    assert lines == {
        "num_ignore_0": [(0.0, 0.2), (60.0, 0.45), (300.0, 0.6)],
        "num_ignore_1": [(0.0, 0.2), (61.0, 0.45), (480.0, 0.75)],
    }


def test_intervals_are_wilsons():
    bars = [line for line in plot.make_figure(GRADED).axes[0].get_lines() if not line.get_gid()]
    assert [tuple(bar.get_ydata()) for bar in bars[:2]] == [wilson(4, 20), wilson(9, 20)]


def test_without_right_answers_y_is_the_answers_length():
    figure = plot.make_figure(OPEN)
    assert drawn_lines(figure) == {"num_ignore_0": [(48.0, 12.0), (90.0, 8.0)]}
    assert figure.axes[0].get_ylabel() == "answer, tokens per reply (mean)"


def test_the_svg_says_what_it_shows(tmp_path):
    _, svg = plot.draw(GRADED, tmp_path / "sweep")
    found = texts(svg)
    assert "Right answers by thinking budget" in found
    assert "model s1, preset smollm2 · 20 questions, n = 20 a point · labels: budget (max_thinking_tokens)" in found
    assert "thinking, tokens per reply (mean)" in found
    assert "right answers, % (bars: 95% interval)" in found
    assert "ends of thinking refused, at most (num_ignore):" in found
    assert [found.count(budget) for budget in ("64", "512")] == [1, 2]  # 64 has one label, for two points that all but coincide
    groups = {one.get("id") for one in ET.parse(svg).getroot().iter(f"{SVG}g")}
    assert {"num_ignore_0", "num_ignore_1"} <= groups


def test_the_svg_has_a_colour_and_a_marker_for_each_line(tmp_path):
    _, svg = plot.draw(GRADED, tmp_path / "sweep")
    root = ET.parse(svg).getroot()
    for number in (0, 1):
        group = next(one for one in root.iter(f"{SVG}g") if one.get("id") == f"num_ignore_{number}")
        assert COLOURS[number].lower() in ET.tostring(group, encoding="unicode")
        assert len(list(group.iter(f"{SVG}use"))) == 3


def test_the_png_is_large_enough_to_be_read(tmp_path):
    png, _ = plot.draw(GRADED, tmp_path / "sweep")
    assert struct.unpack(">II", png.read_bytes()[16:24]) == (1440, 920)


def test_equal_summaries_make_equal_files(tmp_path):
    one, other = plot.draw(GRADED, tmp_path / "one"), plot.draw(GRADED, tmp_path / "other")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


@pytest.mark.parametrize(
    ("thinking", "scale"),
    [([0, 10, 99], "linear"), ([0, 10, 100], "symlog"), ([10, 99], "linear"), ([10, 100], "log"), ([0], "linear"), ([5], "linear")],
)
def test_the_axis_is_logarithmic_only_if_it_must(thinking, scale):
    rows = [row(number, 0, float(number), right=5) for number in thinking]
    axes = plot.make_figure(summary(*rows)).axes[0]
    assert axes.get_xscale() == scale
    assert ("log scale" in axes.get_xlabel()) == (scale != "linear")
    low, high = axes.get_xlim()
    assert low < min(thinking) and max(thinking) < high


def test_accuracy_is_in_percent_and_within_0_and_100():
    axes = plot.make_figure(summary(row(1, 0, 1.0, right=20), row(2, 0, 2.0, right=0))).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "0" and labels[-1] == "100"


def test_what_stands_at_a_tick_is_its_place():
    """Ticks 2.5 points apart are not rounded: 12.5 is not 12."""
    axes = plot.make_figure(summary(row(1, 0, 1.0, right=1), row(2, 0, 2.0, right=2))).axes[0]
    axes.set_yticks([0.1, 0.125, 0.15])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10", "12.5", "15"]


def test_budgets_that_lead_to_one_place_have_one_point():
    """Beyond what the model wants to think, more budget changes nothing."""
    (line,) = lines_of(summary(row(16, 0, 16.0, right=5), row(64, 0, 40.0, right=9), row(128, 0, 40.1, right=9), row(-1, 0, 40.0, right=9)))
    assert [point.label for point in line.points] == ["16", "64–context"]


def test_settings_without_replies_are_left_out():
    assert [len(line.points) for line in lines_of(summary(row(1, 0, None), row(2, 0, 2.0)))] == [1]


@pytest.mark.parametrize("rows", [[], [row(1, 0, None)], [row(1, 0, 1.0)], [row(0, 0, 0.0, right=0)]])
def test_even_a_poor_sweep_is_drawn(tmp_path, rows):
    png, svg = plot.draw(summary(*rows), tmp_path / "sweep")
    assert png.stat().st_size and svg.stat().st_size
    assert any("no replies" in text for text in texts(svg)) == all(one.mean_thinking_tokens is None for one in rows)


def test_more_lines_than_colours_still_differ():
    """By number of points apart and, from the eighth on, in nothing but that."""
    rows = [row(1, ignore, 1.0 + ignore) for ignore in range(9)]
    looks = [(line.colour, line.marker) for line in lines_of(summary(*rows))]
    assert len(set(looks)) == len(COLOURS) == len(MARKERS)


# --- labels ---------------------------------------------------------------------------------------


def test_labels_of_a_full_plot_do_not_cover_each_other():
    rows = [
        row(budget, ignore, budget * (0.9 + 0.1 * ignore), right=5 + ignore + number)
        for ignore in range(3)
        for number, budget in enumerate((8, 16, 32, 64, 128, 256))
    ]
    figure = plot.make_figure(summary(*rows))
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
