# SPDX-License-Identifier: Apache-2.0
"""Figure 1 and Figure 4 of the s1 paper for an evaluation: the curve of budget forcing, and longer thinking against votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1_client.cli.evaluate.figure_parts import BUDGETS, set_titles
from s1_client.cli.evaluate.figure_points import Point, joined, label_of, placed
from s1_client.cli.plots.axes import SHARE, SIZE_INCHES, THINKING, scale_log2, scale_share
from s1_client.cli.plots.lines import draw_lines, label_points
from s1_client.cli.plots.points import Line
from s1_client.cli.plots.style import COLOURS, GREY, MARKERS, new_figure
from s1_client.evaluation._forcing_curve import ForcingCurve, forcing_curve
from s1_client.evaluation._intervals import Estimate
from s1_client.evaluation._protocol import NO_LIMIT, REBASE, SAMPLED
from s1_client.evaluation._report import Report, Row

SPENT = "tokens per question, thinking and answers of all samples"
REFUSED = "ends of thinking refused"
_FIRST = 1  # refused ends have the same colour and marker in both figures
_MAX_SETTINGS = 2  # more lines of votes could not be told apart in one figure


# --- the curve of budget forcing -------------------------------------------------------------------


def curve(report: Report) -> Figure | None:
    """Return accuracy against mean thinking tokens: the budgets as a line that goes on with the refused ends.

    A dashed line shows the accuracy without thinking. None without a graded question, two budgets and a refused end.
    """
    found = forcing_curve([row for row in report.rows if row.accuracy and row.mean_thinking_tokens is not None])
    if found is None:
        return None
    title = "Accuracy by thinking tokens, with budget forcing"
    return _draw(report, title, _lines(found), THINKING, "labels: budget, or ends refused", baseline=found.budgets[0])


def _draw(report: Report, title: str, lines: Sequence[Line[Point]], x_label: str, labels: str, baseline: Row | None = None) -> Figure:
    """Return a figure with tokens on a log2 axis and the whole range of accuracies, 0% to 100%."""
    figure = new_figure(SIZE_INCHES)
    axes = figure.add_subplot()
    draw_lines(figure, axes, lines[::-1])  # the first line's markers are drawn over those of a line that begins on it
    scale_log2(axes, [point.x for line in lines for point in line.points], x_label)
    scale_share(axes, SHARE)
    if baseline is not None:
        _draw_baseline(axes, baseline)
    set_titles(axes, report, title, f" · {labels}")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.draw_without_rendering()  # labels need the final layout
    label_points(axes, lines)
    return figure


def _lines(found: ForcingCurve[Row]) -> list[Line[Point]]:
    """Return the line of the budgets, and for each ignore string the line that leads on from the largest budget."""
    budgets = joined([_thought(row) for row in found.budgets])
    lines = {BUDGETS: budgets}
    for string, rows in found.refused.items():
        lines[f"{REFUSED} (num_ignore){f', by {string}' if string else ''}"] = [budgets[-1], *map(_thought, rows)]
    return [_line(number, name, points) for number, (name, points) in enumerate(lines.items())]


def _line(number: int, name: str, points: Sequence[Point]) -> Line[Point]:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return Line(name=name, colour=colour, marker=marker, shift_points=0, points=points)


def _thought(row: Row) -> Point:
    """Return the point of a graded row at its mean thinking tokens."""
    assert row.accuracy is not None and row.mean_thinking_tokens is not None  # noqa: PT018  # as ``curve`` chose the rows
    return placed(row.mean_thinking_tokens, row.accuracy, _name(row))


def _name(row: Row) -> str:
    if row.num_ignore:
        return f"{row.num_ignore} refused"
    return "natural end" if row.limit == NO_LIMIT and row.share_thinking_natural == 1 else label_of(row)


def _draw_baseline(axes: Axes, row: Row) -> None:
    """Draw the accuracy at budget 0, if it was measured, through the whole figure."""
    if row.limit or row.accuracy is None:
        return
    style: dict[str, Any] = {"color": GREY, "zorder": 1}
    axes.axhline(row.accuracy.value, linestyle=(0, (4, 3)), linewidth=1.0, **style)
    axes.axhspan(row.accuracy.low, row.accuracy.high, alpha=0.10, linewidth=0, **style)
    text = f"without thinking: {100 * row.accuracy.value:.0f}%"
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(text, (1, row.accuracy.value), (-2, 2), fontsize=8.5, color=GREY, **place)


# --- longer thinking or more samples ---------------------------------------------------------------


def parallel(report: Report) -> Figure | None:
    """Return longer thinking against more samples, by all sampled tokens.

    Longer thinking: numbers of refused ends or, without any at the largest budget, budgets. More samples: majority votes,
    best of k, searches.
    """
    forced = [row for row in report.rows if row.kind == "budget"]
    voted = _voted(report)
    searched = [row for row in report.rows if row.kind == REBASE]
    if not (voted or (forced and searched)):
        return None
    found = {
        **_longer(forced, voted),
        **{f"majority vote, {row.setting}": _of_k(row, row.majority) for row in voted},
        **{f"best by reward, {row.setting}": _of_k(row, row.best_of) for row in voted if row.best_of},
        "REBASE": _spent(searched),
    }
    lines = [_line(number, name, points) for number, (name, points) in enumerate(found.items(), _FIRST) if points]
    return _draw(report, "Longer thinking or more samples", lines, SPENT, "labels: ends refused or budget, and samples")


def _voted(report: Report) -> list[Row]:
    """Return the rows whose votes are drawn: those sampled for it, else the first and the last budget with votes."""
    sampled = [row for row in report.rows if row.kind == SAMPLED and row.majority]
    chosen = sampled or [row for row in report.rows if row.kind == "budget" and row.majority]
    return chosen if len(chosen) <= _MAX_SETTINGS else [chosen[0], chosen[-1]]


def _longer(forced: Sequence[Row], voted: Sequence[Row]) -> dict[str, list[Point]]:
    found = forcing_curve([row for row in forced if row.accuracy])
    if found is not None:
        last = found.budgets[-1]
        return {f"{REFUSED}{f' by {string}' if string else ''}": _spent([last, *tail]) for string, tail in found.refused.items()}
    if not forced:
        return {}
    name = next((row.curve for row in voted if row.kind == "budget"), forced[0].curve)
    return {f"longer thinking ({name})": _spent([row for row in forced if row.curve == name])}


def _spent(rows: Sequence[Row]) -> list[Point]:
    """Return a point for each setting at the tokens of one reply or one tree."""
    found = [(row.mean_spent_tokens, row.accuracy, row) for row in rows]
    return joined([placed(spent, share, _name(row)) for spent, share, row in found if spent is not None and share is not None])


def _of_k(row: Row, shares: Mapping[str, Estimate]) -> list[Point]:
    """Return a point for each k; at k = 1 nothing is chosen, so it has the mean accuracy of all samples."""
    spent = row.mean_spent_tokens or 0.0
    return [placed(int(k) * spent, share, f"{k}×") for k, share in {**shares, "1": row.accuracy}.items() if share is not None]
