# SPDX-License-Identifier: Apache-2.0
"""Draw the comparison of two runs at a load: each ratio with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from s1_client.cli.load.axes import WIDTH_INCHES
from s1_client.cli.load.figures import ReportFigure
from s1_client.cli.plots.style import COLOURS, GREY, INK, LIGHT, NUMBERS, new_figure
from s1_client.loadtest._compare import Ratio
from s1_client.loadtest._metric_definitions import TERMS

BETTER, WORSE = COLOURS[0], COLOURS[1]
_ROW_INCHES, _FRAME_INCHES = 0.27, 0.75
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10)
_MAX_TICKS = 8
_SPAN = 1.06  # the axis covers at least 1 / 1.06 to 1.06


def is_better(ratio: Ratio) -> bool | None:
    """Return whether the second run is better; None if they are indistinguishable or neither direction is better."""
    is_lower_better = TERMS[ratio.name].is_lower_better
    if is_lower_better is None or ratio.verdict not in ("higher", "lower"):
        return None
    return (ratio.verdict == "lower") is is_lower_better


def draw_forest(ratios: Sequence[Ratio], name: str, labels: tuple[str, str]) -> ReportFigure | None:
    """Draw the ratios of means and medians; None if no ratio has an interval. Intervals that reach 0 are left out."""
    shown = [ratio for ratio in ratios if (ratio.low or 0) > 0 and ratio.statistic != "p95"]
    if not shown:
        return None
    figure = new_figure((WIDTH_INCHES, _FRAME_INCHES + _ROW_INCHES * len(shown)))
    axes = figure.add_subplot()
    for row, ratio in enumerate(shown):
        better = is_better(ratio)
        colour = GREY if better is None else BETTER if better else WORSE
        style: dict[str, Any] = {"marker": "o" if better is None else "^" if better else "v", "markersize": 6.5, "color": colour}
        axes.plot([ratio.low or 0, ratio.high or 0], [row, row], color=colour, linewidth=1.6)
        axes.plot([ratio.ratio or 0], [row], markerfacecolor="#ffffff" if better is None else colour, gid=f"ratio-{ratio.name}", **style)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [TERMS[ratio.name].title for ratio in shown], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    _scale(axes, [bound for ratio in shown for bound in (ratio.low, ratio.high) if bound])
    axes.set_xlabel(f"{labels[1]} / {labels[0]}"[:60])
    axes.grid(color=LIGHT, linewidth=0.6, axis="x")
    caption = (
        "Ratios of medians and rates with 95% intervals, on a logarithmic axis. Hollow and grey: indistinguishable; "
        "blue, upwards: the second run is better; orange, downwards: it is worse."
    )
    return ReportFigure(name, "Ratios with intervals", caption, figure)


def _scale(axes: Any, bounds: Sequence[float]) -> None:
    axes.set_xscale("log")
    low, high = min(1 / _SPAN, *bounds) / 1.02, max(_SPAN, *bounds) * 1.02
    axes.set_xlim(low, high)
    ticks = [1.0]
    for tick in sorted((tick for tick in _TICKS if low <= tick <= high), key=lambda tick: abs(log(tick))):
        if all(abs(log(tick / other)) >= log(high / low) / _MAX_TICKS for other in ticks):
            ticks.append(tick)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(NUMBERS)
