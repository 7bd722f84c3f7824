# SPDX-License-Identifier: Apache-2.0
"""The axes of a report's figures: as wide as a phone screen, linear or logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from s1_client.cli.plots.style import LIGHT, NUMBERS, log_ticks, new_figure

WIDTH_INCHES, HEIGHT_INCHES = 4.7, 3.2


def empty_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return a figure and its axes with labels and horizontal lines."""
    figure = new_figure((WIDTH_INCHES, HEIGHT_INCHES))
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=LIGHT, linewidth=0.6, axis="y")
    axes.set_axisbelow(True)
    return figure, axes


def log_x(axes: Axes, levels: Sequence[float]) -> None:
    """Make the x axis logarithmic, with a tick at each of the ascending levels."""
    axes.set_xscale("log")
    axes.set_xlim(levels[0] / 1.3, levels[-1] * 1.3)
    axes.xaxis.set_major_locator(FixedLocator(levels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(NUMBERS)


def log_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with room at both ends."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.15, high * 1.15)
    set_log_ticks(axes.yaxis, axes.get_ylim())


def set_log_ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Set the ticks of a logarithmic axis between its limits."""
    axis.set_major_locator(FixedLocator(log_ticks(*limits)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
