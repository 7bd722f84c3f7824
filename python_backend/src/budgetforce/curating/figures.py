# SPDX-License-Identifier: Apache-2.0
"""The figures of a dataset card: the funnel of rows, the domains, and the lengths with the limit of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# The look of the client's plots: colours of Okabe and Ito, no frame, no mathematics in labels.
_BLUE, _ORANGE, _GREY, _LIGHT = "#0072B2", "#D55E00", "#555555", "#dddddd"
_STYLE: Any = {"font.size": 10, "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False}
_NUMBERS = FuncFormatter(lambda value, _: f"{value:,.10g}")
_DPI, _WIDTH, _BAR = 200, 7.2, 0.27  # a bar's height and the width are in inches
_MOST_DOMAINS, _LONGEST_LABEL, _NUM_BINS = 25, 38, 40


def write_funnel(path: Path, steps: Sequence[tuple[str, int]]) -> None:
    """Write a bar for each (step, rows left behind it)."""
    rows = "rows that each stage leaves"
    _write_bars(path, [name for name, _ in steps], [num for _, num in steps], "From questions to the training set", rows)


def write_domains(path: Path, domains: Mapping[str, int]) -> None:
    """Write a bar for each domain, the most frequent first; the rest is put together."""
    ordered = sorted(domains.items(), key=lambda entry: (-entry[1], entry[0]))
    shown, rest = ordered[:_MOST_DOMAINS], ordered[_MOST_DOMAINS:]
    if rest:
        shown.append((f"{len(rest)} other domains", sum(num for _, num in rest)))
    _write_bars(path, [name for name, _ in shown], [num for _, num in shown], f"Domains ({len(ordered)})", "rows")


def write_lengths(path: Path, lengths: Sequence[int], limit: int, num_too_long: int) -> None:
    """Write a histogram of rows by length in tokens, with the recipe's limit where it is near."""
    _draw(path, 3.4, lambda axes: _lengths(axes, lengths, limit, num_too_long))


def _lengths(axes: Axes, lengths: Sequence[int], limit: int, num_too_long: int) -> None:
    axes.hist(lengths, bins=_NUM_BINS, color=_BLUE, edgecolor="white", linewidth=0.4)
    longest = max(lengths)
    above = f"{num_too_long:,} rows were longer" if num_too_long else "no row is longer"
    if limit <= 2 * longest:  # a limit far away would squeeze the histogram
        axes.axvline(limit, color=_ORANGE, linewidth=1.5)
        axes.annotate(
            "limit",
            (limit, 1),
            (-4, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=_ORANGE,
            ha="right",
            va="top",
        )
        axes.set_xlim(right=max(limit, longest) * 1.02)
    axes.grid(axis="y", color=_LIGHT, linewidth=0.6)
    _set_title(axes, "Lengths of the rows", f"limit of the recipe: {limit:,} tokens; {above}")
    axes.set_xlabel("tokens in a row, with question and chat markers")
    axes.set_ylabel("rows")
    _number_axis(axes.xaxis)
    _number_axis(axes.yaxis)


def _write_bars(path: Path, names: Sequence[str], numbers: Sequence[int], title: str, label: str) -> None:
    _draw(path, 1.1 + _BAR * len(names), lambda axes: _bars(axes, names, numbers, title, label))


def _bars(axes: Axes, names: Sequence[str], numbers: Sequence[int], title: str, label: str) -> None:
    places = range(len(names))
    axes.grid(axis="x", color=_LIGHT, linewidth=0.6)
    axes.barh(places, numbers, color=_BLUE, height=0.72)
    axes.set_yticks(places, [name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…" for name in names])
    axes.invert_yaxis()
    for place, number in zip(places, numbers, strict=True):
        axes.annotate(f"{number:,}", (number, place), (4, 0), textcoords="offset points", va="center", fontsize=9, color=_GREY)
    axes.set_xlim(0, max(numbers, default=0) * 1.12 or 1)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, loc="left", fontweight="bold")
    _number_axis(axes.xaxis)


def _set_title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{title}\n", loc="left", fontweight="bold")
    axes.annotate(subtitle, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=_GREY)


def _number_axis(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.set_major_formatter(_NUMBERS)


def _draw(path: Path, height_inches: float, fill: Callable[[Axes], None]) -> None:
    """Write a figure with one pair of axes as PNG; equal data give an equal file."""
    with mpl.rc_context(_STYLE):
        figure = Figure((_WIDTH, height_inches), layout="constrained", dpi=_DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        fill(axes)
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
