# SPDX-License-Identifier: Apache-2.0
"""The figure of a capacity search: the percentile of each limited latency against the load, with its limit."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from s1_client.cli.load.axes import empty_axes, log_x, log_y
from s1_client.cli.load.figures import FIRST, ReportFigure
from s1_client.cli.plots.style import COLOURS, MARKERS, label_ends, steps
from s1_client.loadtest._capacity_summary import CapacitySummary, TrialSummary
from s1_client.loadtest._objective import LatencyLimit
from s1_client.loadtest._search import CapacitySearch

_X_LABELS = {"concurrency": "concurrency", "request_rate": "request rate, 1/s"}


def draw_capacity(search: CapacitySearch, found: CapacitySummary) -> ReportFigure | None:
    """Draw the trials of a search; None if its objective limits no latency, or no trial has one."""
    limits = search.objective.limits
    shown = [trial for trial in found.trials if any(trial.percentiles_ms.get(limit.name) for limit in limits)]
    if not shown:
        return None
    figure, axes = empty_axes(_X_LABELS[search.mode], f"p{search.objective.percentile:g}, ms")
    ends = [_draw_metric(axes, number, limit, shown) for number, limit in enumerate(limits)]
    loads = sorted({trial.load for trial in shown})
    log_x(axes, steps(loads[0], loads[-1]) or loads[:1])
    axes.set_xlim(loads[0] / 1.3, loads[-1] * 1.3)
    log_y(axes)
    label_ends(figure, axes, [end for end in ends if end])
    caption = (
        "A marker for each level, filled where the objective holds; none where too many requests have no reply for a percentile. "
        "Dashed: the limits. Both axes are logarithmic."
    )
    return ReportFigure("capacity", "Capacity search", caption, figure)


def _draw_metric(axes: Axes, number: int, limit: LatencyLimit, trials: list[TrialSummary]) -> tuple[float, str, str] | None:
    """Draw a metric's levels and its limit, and return the label of its line."""
    colour, marker = COLOURS[number], MARKERS[number]
    points = sorted((trial.load, value, bool(trial.holds)) for trial in trials if (value := trial.percentiles_ms.get(limit.name)))
    axes.axhline(limit.limit_ms, color=colour, linestyle="--", linewidth=1, gid=f"limit-{limit.name}")
    for holds in (True, False):
        shown = [(load, value) for load, value, held in points if held is holds]
        style: dict[str, Any] = {"marker": marker, "color": colour, "markerfacecolor": colour if holds else "#ffffff"}
        name = f"{'holds' if holds else 'fails'}-{limit.name}"
        axes.plot([load for load, _ in shown], [value for _, value in shown], linestyle="none", gid=name, **style)
    return (points[-1][1], FIRST[limit.name], colour) if points else None
