# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation, of the paper's kinds: curve, scaling, parallel, rejection, tokens.

The colours suit colour-blind readers; markers and hatches differ as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from s1_client.cli.evaluate.curve_figures import curve, parallel
from s1_client.cli.evaluate.figure_parts import line_figure, set_titles
from s1_client.cli.evaluate.figure_points import Point, points_of
from s1_client.cli.output import clean
from s1_client.cli.plots.axes import save
from s1_client.cli.plots.style import COLOURS, LIGHT, new_figure, styled
from s1_client.evaluation._protocol import REBASE, SAMPLED
from s1_client.evaluation._report import Report


def draw_all(report: Report, folder: Path) -> list[Path]:
    """Write the figures that have data, as NAME.png and NAME.svg, and return their paths."""
    with styled():
        return [path for name, make in FIGURES.items() for path in _save(make(report), folder / name)]


def draw_scaling(report: Report, stem: Path) -> list[Path]:
    """Write the scaling figure as ``stem``.png and ``stem``.svg, if it has data, and return their paths."""
    with styled():
        return _save(scaling(report), stem)


def draw_versus(reports: Mapping[str, Report], folder: Path) -> list[Path]:
    """Write the curves of several evaluations as one figure, comparison.png and comparison.svg; keys are their names."""
    with styled():
        lines = {f"{name}: {curve}": points for name, report in reports.items() for curve, points in _curves(report).items()}
        names = dict.fromkeys(report.model for report in reports.values())
        models = f"model{'s' if len(names) > 1 else ''} {' and '.join(names)}"
        figure = line_figure(next(iter(reports.values())), "Accuracy by thinking", lines, models=models)
        return _save(figure, folder / "comparison")


def _save(figure: Figure | None, stem: Path) -> list[Path]:
    """Write a figure and return its paths; without a figure remove that of an earlier call."""
    if figure is not None:
        return list(save(figure, stem))
    for suffix in (".png", ".svg"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    return []


def scaling(report: Report) -> Figure | None:
    """Return accuracy against mean thinking tokens: a line for each curve, a marker for each setting.

    Without a graded question the figure shows the mean length of the answer instead.
    """
    title = "Accuracy by thinking" if any(row.accuracy for row in report.rows) else "Answer length by thinking"
    return line_figure(report, title, _curves(report))


def _curves(report: Report) -> dict[str, list[Point]]:
    """Return the points of each curve except searches, which have no thinking, and samples for a vote."""
    names = dict.fromkeys(row.curve for row in report.rows if row.kind not in (REBASE, SAMPLED))
    return {name: points_of(report, name) for name in names}


def rejection(report: Report) -> Figure | None:
    """Return rejection sampling beside forced budgets; None without rejection sampling."""
    kinds = {row.curve: row.kind for row in report.rows}
    if "rejection" not in kinds.values():
        return None
    lines = {name: points_of(report, name) for name, kind in kinds.items() if kind in ("budget", "rejection")}
    return line_figure(report, "Rejection sampling beside forced budgets", lines)


def tokens(report: Report) -> Figure | None:
    """Return a bar of thinking and answer tokens for each setting."""
    rows = [row for row in report.rows if row.mean_thinking_tokens is not None and row.mean_answer_tokens is not None]
    if not rows:
        return None
    figure = new_figure((7.2, 1.6 + 0.28 * len(rows)))
    axes = figure.add_subplot()
    places = range(len(rows))
    thinking = [row.mean_thinking_tokens or 0.0 for row in rows]
    axes.barh(places, thinking, color=COLOURS[0], height=0.65, label="thinking")
    answers = [row.mean_answer_tokens or 0.0 for row in rows]
    axes.barh(places, answers, left=thinking, color=COLOURS[4], height=0.65, label="answer", hatch="///", edgecolor="white", linewidth=0)
    axes.set_yticks(places, [clean(row.setting) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("tokens per reply (mean)")
    axes.grid(axis="x", color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    set_titles(axes, report, "Token use by setting", "")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


FIGURES: Mapping[str, Callable[[Report], Figure | None]] = {
    "curve": curve,
    "scaling": scaling,
    "parallel": parallel,
    "rejection": rejection,
    "tokens": tokens,
}
