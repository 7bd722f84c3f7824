# SPDX-License-Identifier: Apache-2.0
"""A figure of several lines for an evaluation, with its titles, axes and legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1_client.cli.evaluate.figure_points import Point
from s1_client.cli.plots.axes import SHARE, SIZE_INCHES, THINKING, scale_x, scale_y, set_title
from s1_client.cli.plots.lines import draw_lines, label_points
from s1_client.cli.plots.points import shifted_lines
from s1_client.cli.plots.style import GREY, new_figure
from s1_client.evaluation._protocol import SAMPLED
from s1_client.evaluation._report import Report

BUDGETS, REFUSALS = "budget (max_thinking_tokens)", "ends of thinking refused, at most (num_ignore):"
LENGTH = "answer, tokens per reply (mean)"


def line_figure(
    report: Report,
    title: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    x_label: str = THINKING,
    models: str | None = None,
) -> Figure | None:
    """Return the figure of several lines, without those that have no point; None if no line has one."""
    drawn = {name: points for name, points in lines.items() if points}
    if not drawn:
        return None
    figure = new_figure(SIZE_INCHES)
    axes = figure.add_subplot()
    plotted = shifted_lines(drawn)
    draw_lines(figure, axes, plotted)
    everything = [point for points in drawn.values() for point in points]
    scale_x(axes, [point.x for point in everything], x_label)
    is_graded = any(row.accuracy for row in report.rows)
    scale_y(axes, everything, SHARE if is_graded else LENGTH, is_share=is_graded)
    if any(point.is_hollow for point in everything):
        style: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": GREY, "markerfacecolor": "white"}
        axes.plot([], [], label="hollow: some questions have no accepted reply", **style)
    is_sweep = all(row.kind in ("budget", SAMPLED) for row in report.rows)
    set_titles(axes, report, title, f" · labels: {BUDGETS if is_sweep else 'the requested limit'}", models=models)
    legend_title = REFUSALS if is_sweep and any(row.num_ignore for row in report.rows) else None
    figure.legend(loc="outside lower center", ncols=min(len(drawn), 3), frameon=False, fontsize=9, title=legend_title, title_fontsize=9)
    figure.draw_without_rendering()  # labels need the final layout
    label_points(axes, plotted)
    return figure


def set_titles(axes: Axes, report: Report, title: str, labels: str, models: str | None = None) -> None:
    """Set the title, and below it the task, the number of questions, the model and what the labels are."""
    preset = f", preset {', '.join(report.presets)}" if report.presets else ""
    number = max((row.num_questions for row in report.rows), default=0)
    model = f"model {report.model}{preset}" if models is None else models
    questions = f"{number} question{'s' if number != 1 else ''}{_graded(report)}"
    set_title(axes, title, f"task {report.task}, {questions} · {model}{labels}")


def _graded(report: Report) -> str:
    """Return the part of the replies that the accuracies rest on; "" if it is all of them, or none."""
    partly = [row for row in report.rows if 0 < row.num_graded < row.num_samples]
    least = min(partly, key=lambda row: row.num_graded, default=None)
    return "" if least is None else f" · accuracy of {least.num_graded} of {least.num_samples} replies a point"
