# SPDX-License-Identifier: Apache-2.0
"""A sweep's summary as a plot: what was thought, and what it brought.

x is the thinking, y the share of right answers, or the length of answers of which the right ones are not known. A line
for each number of ignores, a marker for each budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from s1_client.cli.evaluate.sweep_summary import Row, Summary, budget_name
from s1_client.cli.plots.axes import SHARE, SIZE_INCHES, save, scale_x, scale_y, set_title
from s1_client.cli.plots.lines import draw_lines, label_points
from s1_client.cli.plots.points import Line, shifted_lines
from s1_client.cli.plots.style import new_figure, styled


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place on the plot; ``low`` and ``high`` bound its interval, if it has one.

    Attributes:
        budgets: those that led there, in order: beyond what the model wants to think they all do.
        number: of replies, for each.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    budgets: tuple[int, ...]
    number: int

    @property
    def is_hollow(self) -> bool:
        """Whether its x and its y are of different replies: never, here."""
        return False

    @property
    def label(self) -> str:
        """Its budgets."""
        names = [budget_name(budget) for budget in self.budgets]
        return names[0] if len(names) == 1 else f"{names[0]}–{names[-1]}"


def draw(summary: Summary, stem: Path) -> tuple[Path, Path]:
    """Write ``stem``.png and ``stem``.svg."""
    with styled():
        return save(make_figure(summary), stem)


def make_figure(summary: Summary) -> Figure:
    """The plot of the settings that have replies."""
    figure = new_figure(SIZE_INCHES)
    axes = figure.add_subplot()
    lines = lines_of(summary)
    points = [point for line in lines for point in line.points]
    draw_lines(figure, axes, lines, "num_ignore_")
    scale_x(axes, [point.x for point in points])
    scale_y(axes, points, SHARE if summary.is_graded else "answer, tokens per reply (mean)", is_share=summary.is_graded)
    _tell(axes, summary, [point.number for point in points])
    _legend(figure, axes)
    figure.draw_without_rendering()  # now it is known where everything is
    label_points(axes, lines)
    return figure


# --- axes and words -------------------------------------------------------------------------------


def _tell(axes: Axes, summary: Summary, numbers: Sequence[int]) -> None:
    """The title, and under it what one has to know to read the plot."""
    what = "Right answers" if summary.is_graded else "Length of the answer"
    preset = f", preset {', '.join(summary.presets)}" if summary.presets else ""
    questions = f"{summary.num_questions} question{'s' if summary.num_questions > 1 else ''}"
    said = f"model {summary.model}{preset} · {questions}, {_number(numbers)} · labels: budget (max_thinking_tokens)"
    set_title(axes, f"{what} by thinking budget", said)


def _number(numbers: Sequence[int]) -> str:
    if not numbers:
        return "no replies"
    least, most = min(numbers), max(numbers)
    return f"n = {least} a point" if least == most else f"n = {least} to {most} a point"


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = [Line2D([], [], linestyle="none"), *handles], ["ends of thinking refused, at most (num_ignore):", *labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9, columnspacing=1.2)


# --- points ---


def lines_of(summary: Summary) -> list[Line[Point]]:
    """A line for each number of ignores."""
    groups = [(str(ignore), list(rows)) for ignore, rows in groupby(summary.rows, key=lambda row: row.num_ignore)]
    return shifted_lines(
        {ignore: _joined([point for row in group if (point := _point(row, summary.is_graded))]) for ignore, group in groups}
    )


def _point(row: Row, is_graded: bool) -> Point | None:
    y = row.accuracy if is_graded else row.mean_answer_tokens
    if row.mean_thinking_tokens is None or y is None:
        return None
    low, high = (row.accuracy_low, row.accuracy_high) if is_graded else (None, None)
    number = row.num_graded if is_graded else row.num_replies
    return Point(x=row.mean_thinking_tokens, y=y, low=low, high=high, budgets=(row.max_thinking_tokens,), number=number)


def _joined(points: Sequence[Point]) -> list[Point]:
    """Budgets that lead to one place as one point."""
    joined: list[Point] = []
    for point in points:
        if joined and _is_near(joined[-1], point):
            joined[-1] = replace(joined[-1], budgets=joined[-1].budgets + point.budgets)
        else:
            joined.append(point)
    return joined


def _is_near(one: Point, other: Point) -> bool:
    """Closer than a marker is wide, on either kind of axis."""
    return one.y == other.y and one.number == other.number and abs(one.x - other.x) <= 0.01 * max(one.x, other.x)
