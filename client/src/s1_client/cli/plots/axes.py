# SPDX-License-Identifier: Apache-2.0
"""The axes, titles and files that all plots of thinking share."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log2
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from s1_client.cli.output import clean
from s1_client.cli.plots.points import PlotPoint
from s1_client.cli.plots.style import DPI, GREY, LIGHT, NUMBERS, steps

SIZE_INCHES = (7.2, 4.6)
LOG_FROM = 10  # from this ratio of maximum to minimum the axis is logarithmic: a linear one crowds small budgets
PAD, _ZERO_DECADES = 0.06, 0.3  # padding as a share of the axis; width in decades from 0 to the smallest value on a log axis
_ZERO_OCTAVES, _LABEL_PAD = 0.4, 0.14  # as the two above, on an axis of base 2; the last label needs room beside its point
_LETTERS_PER_LINE = 96  # of text of 9 points in a figure of 7.2 inches
SVG_METADATA: dict[str, Any] = {"Date": None}  # equal figures are equal files
THINKING = "thinking, tokens per reply"
SHARE = "right answers, % (bars: 95% interval)"


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write a figure as ``stem``.png and ``stem``.svg, and return both paths."""
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    figure.savefig(png, dpi=DPI)
    figure.savefig(svg, metadata=SVG_METADATA)
    return png, svg


def set_title(axes: Axes, title: str, subtitle: str) -> None:
    """Set the title, and below it the subtitle in small letters, wrapped to the width of the figure."""
    lines = wrap(clean(subtitle), _LETTERS_PER_LINE)
    axes.set_title(clean(title) + "\n" * len(lines), loc="left", fontweight="bold")
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 9, "color": GREY}
    axes.annotate("\n".join(lines), (0, 1), (0, 6), in_layout=False, **style)  # as part of the layout a long line would squeeze the axes


def scale_x(axes: Axes, xs: Sequence[float], label: str = THINKING) -> None:
    """Set a linear or logarithmic x axis, by the range of ``xs``. (Matplotlib's automatic limits ignore shifted lines.)"""
    axes.set_xlabel(f"{label} (mean)")
    if not xs:
        return
    positive = [x for x in xs if x > 0]
    if positive and max(positive) >= LOG_FROM * min(positive):
        _scale_log(axes, min(positive), max(positive), label, has_zero=min(xs) == 0)
    else:
        pad = PAD * (max(xs) - min(xs)) or 1
        axes.set_xlim(min(xs) - pad, max(xs) + pad)
    axes.xaxis.set_major_formatter(NUMBERS)


def _scale_log(axes: Axes, least: float, most: float, label: str, *, has_zero: bool) -> None:
    axes.set_xlabel(f"{label} (mean, log scale)")
    factor = (most / least) ** PAD
    if has_zero:
        axes.set_xscale("symlog", linthresh=least, linscale=_ZERO_DECADES)
        axes.set_xlim(-PAD * least / _ZERO_DECADES, most * factor)
    else:
        axes.set_xscale("log")
        axes.set_xlim(least / factor, most * factor)
    axes.xaxis.set_major_locator(FixedLocator([0, *steps(least, most)] if has_zero else steps(least, most)))
    axes.xaxis.set_minor_locator(NullLocator())


def scale_log2(axes: Axes, xs: Sequence[float], label: str) -> None:
    """Set a logarithmic x axis of base 2 with a tick at each power of two, and one at 0 if a value is 0."""
    axes.set_xlabel(f"{label} (mean, log2 scale)")
    positive = [x for x in xs if x > 0]
    if not positive:
        return
    least, most = 2.0 ** floor(log2(min(positive))), max(positive)
    right = most * (most / least) ** _LABEL_PAD
    if min(xs) == 0:
        axes.set_xscale("symlog", base=2, linthresh=least, linscale=_ZERO_OCTAVES)
        axes.set_xlim(-least / 2, right)
    else:
        axes.set_xscale("log", base=2)
        axes.set_xlim(least, right)
    powers = [2.0**power for power in range(int(log2(least)), int(log2(most)) + 1)]
    axes.xaxis.set_major_locator(FixedLocator([0, *powers] if min(xs) == 0 else powers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(NUMBERS)


def scale_share(axes: Axes, label: str) -> None:
    """Set a y axis of shares from 0% to 100%, whatever the data."""
    axes.set_ylim(0, 1)
    axes.set_yticks([tick / 5 for tick in range(6)])
    _finish_y(axes, label, is_share=True)


def scale_y(axes: Axes, points: Sequence[PlotPoint], label: str, *, is_share: bool) -> None:
    """Set the y axis; a share (0 to 1) is shown in percent, and its axis ends at 0% and 100%."""
    ys = [y for point in points for y in (point.y, point.low, point.high) if y is not None] or [0.0, 1.0]
    pad = 2 * PAD * (max(ys) - min(ys)) or (0.05 if is_share else 1)
    low, high = min(ys) - pad, max(ys) + pad
    if is_share:
        low, high = max(low, 0.0), min(high, 1.0)
    axes.set_ylim(low, high)
    if is_share:
        ticks = [round(tick, 9) for tick in axes.get_yticks()]  # 1.0000000000000002 counts as 100%
        axes.set_yticks([tick for tick in ticks if low <= tick <= high])
    _finish_y(axes, label, is_share=is_share)


def _finish_y(axes: Axes, label: str, *, is_share: bool) -> None:
    axes.set_ylabel(label)
    if is_share:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.10g}"))
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
