# SPDX-License-Identifier: Apache-2.0
"""Colours, markers, ticks and labels that all plots share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# The palette of Okabe and Ito, which colour-blind readers can distinguish; the markers differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 200
_LABEL_SIZE, _LINE_POINTS = 9.0, 12.0
_MIN_TICKS = 3  # of a logarithmic axis: two ticks look like a linear axis
INK, GREY, LIGHT = "#1b1b1b", "#555555", "#dddddd"
NUMBERS = FuncFormatter(lambda value, _: f"{value:,.10g}")
_STYLE: Any = {
    "font.size": 10,
    "svg.fonttype": "none",  # text is not converted to paths
    "svg.hashsalt": "s1",  # equal figures are equal files
    "text.parse_math": False,  # a dollar sign in a label is literal
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are made and saved in the common style."""
    return mpl.rc_context(_STYLE)


def new_figure(size_inches: tuple[float, float]) -> Figure:
    """Return an empty figure that belongs to no window."""
    figure = Figure(size_inches, layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def label_ends(figure: Figure, axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Label lines at their ends, given as (y, name, colour), to the right of the axes and without overlaps."""
    figure.draw_without_rendering()  # computes all positions
    lowest = -float("inf")  # in typographic points, as offsets are
    for y, name, colour in sorted(ends):
        at = float(axes.transData.transform((1, y))[1]) * 72 / figure.dpi
        half = _LINE_POINTS * (1 + name.count("\n")) / 2
        middle = max(at, lowest + half)
        lowest = middle + half
        style: dict[str, Any] = {"color": colour, "va": "center", "fontsize": _LABEL_SIZE, "annotation_clip": False}
        axes.annotate(name, (1, y), (4, middle - at), xycoords=("axes fraction", "data"), textcoords="offset points", **style)


def log_ticks(least: float, most: float) -> list[float]:
    """Return ticks of a logarithmic axis, at least three if possible: 1, 10, 100; else 1, 2, 5; else finer; else evenly spaced."""
    found: list[float] = []
    for factors in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        found = [tick for exponent in range(-4, 7) for factor in factors if least <= (tick := factor * 10.0**exponent) <= most]
        if len(found) >= _MIN_TICKS:
            return found
    evenly = MaxNLocator(2 * _MIN_TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(least, most)
    return [tick for tick in map(float, evenly) if least <= tick <= most] or found


def steps(least: float, most: float) -> list[float]:
    """Return the numbers 1, 2, 5, 10, 20, … within a range."""
    found = [factor * 10.0**exponent for exponent in range(-4, 7) for factor in (1, 2, 5)]
    return [step for step in found if least <= step <= most]
