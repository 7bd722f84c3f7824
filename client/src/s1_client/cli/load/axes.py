# SPDX-License-Identifier: Apache-2.0
"""The axes of a report's figures: as wide as a phone screen, linear or logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from s1_client.cli.plots.style import LIGHT, NUMBERS, log_ticks, new_figure

WIDTH_INCHES, HEIGHT_INCHES = 4.7, 3.2
_TITLE_LETTERS, _TITLE_LINE_INCHES = 56, 0.19  # of 10 points and bold
_TICK_SHARE = 0.06  # of the axis between two ticks, at least


def empty_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return a figure and its axes with labels and horizontal lines."""
    figure = new_figure((WIDTH_INCHES, HEIGHT_INCHES))
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=LIGHT, linewidth=0.6, axis="y")
    axes.set_axisbelow(True)
    return figure, axes


def add_title(figure: Figure, title: str) -> None:
    """Write a title, wrapped to the width, above a finished figure, which becomes taller; the layout would put it over a legend."""
    lines = wrap(title, _TITLE_LETTERS)
    width, height = figure.get_size_inches()
    taller = height + _TITLE_LINE_INCHES * len(lines)
    figure.set_size_inches(width, taller)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, height / taller))
    figure.draw_without_rendering()  # the last layout: legends are anchored after it
    figure.set_layout_engine("none")
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, height / taller), transform=figure.transFigure)
    figure.suptitle("\n".join(lines), x=0.01, y=1 - 0.04 / taller, ha="left", va="top", fontsize=10, fontweight="bold")


def log_x(axes: Axes, levels: Sequence[float]) -> None:
    """Make the x axis logarithmic, with a tick at each of the ascending levels that has room for its number."""
    axes.set_xscale("log")
    low, high = levels[0] / 1.3, levels[-1] * 1.3
    axes.set_xlim(low, high)
    ticks: list[float] = []
    for level in levels:  # a capacity search has levels that lie close together
        if not ticks or log(level / ticks[-1]) > _TICK_SHARE * log(high / low):
            ticks.append(level)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
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
