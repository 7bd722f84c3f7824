# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation, of the paper's kinds: scaling, parallel, rejection, tokens.

The colours suit colour-blind readers; markers and hatches differ as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1_client.cli.output import clean
from s1_client.cli.plots.axes import SHARE, SIZE_INCHES, save, scale_x, scale_y, set_title
from s1_client.cli.plots.lines import draw_lines, label_points
from s1_client.cli.plots.points import shifted_lines
from s1_client.cli.plots.style import COLOURS, GREY, LIGHT, new_figure, styled
from s1_client.evaluation._intervals import Estimate
from s1_client.evaluation._protocol import REBASE, limit_name
from s1_client.evaluation._report import Report, Row

SPENT = "sampled tokens per question, thinking and answers of all samples"
BUDGETS, REFUSALS = "budget (max_thinking_tokens)", "ends of thinking refused, at most (num_ignore):"
LENGTH = "answer, tokens per reply (mean)"
_MAX_SETTINGS = 2  # more lines of votes could not be told apart in one figure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    x: float
    y: float
    low: float | None
    high: float | None
    label: str
    is_hollow: bool = False  # x is the mean over accepted replies, while y counts the other replies as wrong


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
        figure = _plot(next(iter(reports.values())), "Accuracy by thinking", lines, models=models)
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
    return _plot(report, title, _curves(report))


def _curves(report: Report) -> dict[str, list[_Point]]:
    """Return the points of each curve except searches, which have no thinking."""
    names = dict.fromkeys(row.curve for row in report.rows if row.kind != REBASE)
    return {name: _points(report, name) for name in names}


def rejection(report: Report) -> Figure | None:
    """Return rejection sampling beside forced budgets; None without rejection sampling."""
    kinds = {row.curve: row.kind for row in report.rows}
    if "rejection" not in kinds.values():
        return None
    lines = {name: _points(report, name) for name, kind in kinds.items() if kind in ("budget", "rejection")}
    return _plot(report, "Rejection sampling beside forced budgets", lines)


def parallel(report: Report) -> Figure | None:
    """Return longer thinking against more samples: single replies, votes, best of k and searches, by all sampled tokens."""
    forced = [row for row in report.rows if row.kind == "budget"]
    chosen = [row for row in forced if row.majority]
    chosen = chosen if len(chosen) <= _MAX_SETTINGS else [chosen[0], chosen[-1]]
    searched = [row for row in report.rows if row.kind == REBASE]
    if not (chosen or (forced and searched)):
        return None
    curve = (chosen or forced)[0].curve
    lines = {
        f"longer thinking ({curve})": _spent([row for row in forced if row.curve == curve]),
        **{f"vote, {row.setting}": _of_k(row, row.majority) for row in chosen},
        **{f"best by reward, {row.setting}": _of_k(row, row.best_of) for row in chosen if row.best_of},
        "REBASE": _spent(searched),
    }
    return _plot(report, "Longer thinking or more samples", lines, SPENT)


def _spent(rows: Sequence[Row]) -> list[_Point]:
    """Return a point for each setting at the tokens of one reply or one tree."""
    found = [(row.mean_spent_tokens, row.accuracy, row) for row in rows]
    return _joined([_placed(spent, share, _label(row)) for spent, share, row in found if spent is not None and share is not None])


def _of_k(row: Row, shares: Mapping[str, Estimate]) -> list[_Point]:
    """Return a point for each k; at k = 1 nothing is chosen, so it has the mean accuracy of all samples."""
    return [
        _placed(int(k) * (row.mean_spent_tokens or 0.0), share, f"{k}×")
        for k, share in {**shares, "1": row.accuracy}.items()
        if share is not None
    ]


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
    _tell(axes, report, "Token use by setting", "")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


FIGURES: Mapping[str, Callable[[Report], Figure | None]] = {
    "scaling": scaling,
    "parallel": parallel,
    "rejection": rejection,
    "tokens": tokens,
}


# --- parts ----------------------------------------------------------------------------------------


def _points(report: Report, curve: str) -> list[_Point]:
    is_graded = any(row.accuracy for row in report.rows)
    point = _point if is_graded else _ungraded_point
    points = [placed for row in report.rows if row.curve == curve and (placed := point(row)) is not None]
    return sorted(_joined(points), key=lambda point: point.x)


def _joined(points: Sequence[_Point]) -> list[_Point]:
    """Return the points with those at the same place as one, labelled with the first and last limit: "512–context".

    Budgets beyond the length of the thinking all lead to the same place.
    """
    groups: list[list[_Point]] = []
    for point in points:
        if groups and _is_near(groups[-1][0], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    return [group[0] if len(group) == 1 else replace(group[0], label=f"{group[0].label}–{group[-1].label}") for group in groups]


def _is_near(point: _Point, other: _Point) -> bool:
    """Return whether the points are closer than a marker is wide, on a linear and on a logarithmic axis."""
    same = [(item.y, item.low, item.high, item.is_hollow) for item in (point, other)]
    return same[0] == same[1] and abs(point.x - other.x) <= 0.01 * max(point.x, other.x)


def _ungraded_point(row: Row) -> _Point | None:
    if row.mean_thinking_tokens is None or row.mean_answer_tokens is None:
        return None
    return _Point(x=row.mean_thinking_tokens, y=row.mean_answer_tokens, low=None, high=None, label=_label(row))


def _point(row: Row) -> _Point | None:
    if row.mean_thinking_tokens is None or row.accuracy is None:
        return None
    return replace(_placed(row.mean_thinking_tokens, row.accuracy, _label(row)), is_hollow=row.num_unaccepted > 0)


def _label(row: Row) -> str:
    return row.setting.rpartition(" ")[2] if row.kind in ("class", REBASE) else limit_name(row.limit)


def _placed(x: float, share: Estimate, label: str) -> _Point:
    return _Point(x=x, y=share.value, low=share.low, high=share.high, label=label)


def _plot(
    report: Report, title: str, lines: Mapping[str, Sequence[_Point]], x_label: str | None = None, models: str | None = None
) -> Figure | None:
    drawn = {name: points for name, points in lines.items() if points}
    if not drawn:
        return None
    figure = new_figure(SIZE_INCHES)
    axes = figure.add_subplot()
    plotted = shifted_lines(drawn)
    draw_lines(figure, axes, plotted)
    everything = [point for points in drawn.values() for point in points]
    scale_x(axes, [point.x for point in everything], **({} if x_label is None else {"label": x_label}))
    is_graded = any(row.accuracy for row in report.rows)
    scale_y(axes, everything, SHARE if is_graded else LENGTH, is_share=is_graded)
    if any(point.is_hollow for point in everything):
        style: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": GREY, "markerfacecolor": "white"}
        axes.plot([], [], label="hollow: some questions have no accepted reply", **style)
    is_sweep = all(row.kind == "budget" for row in report.rows)
    _tell(axes, report, title, f" · labels: {BUDGETS if is_sweep else 'the requested limit'}", models=models)
    legend_title = REFUSALS if is_sweep and any(row.num_ignore for row in report.rows) else None
    figure.legend(loc="outside lower center", ncols=min(len(drawn), 3), frameon=False, fontsize=9, title=legend_title, title_fontsize=9)
    figure.draw_without_rendering()  # labels need the final layout
    label_points(axes, plotted)
    return figure


def _tell(axes: Axes, report: Report, title: str, labels: str, models: str | None = None) -> None:
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
