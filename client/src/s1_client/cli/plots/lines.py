# SPDX-License-Identifier: Apache-2.0
"""Lines of a figure, and a label beside each of their points, where nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, Transform

from s1_client.cli.output import clean
from s1_client.cli.plots.labels import Box, dots, place
from s1_client.cli.plots.points import Line, Placed
from s1_client.cli.plots.style import GREY

_MARKER_POINTS = 7.0
_LABEL_SIZE, _LETTER, _GAP_POINTS = 8.5, (5.6, 8.5), 1.5  # a digit's width and height, in points
_MARGIN_POINTS = 2.0  # around a label, so that two beside each other do not read as one


def draw_lines(figure: Figure, axes: Axes, lines: Sequence[Line[Any]], gid: str = "") -> None:
    """Draw them, with intervals where points have one. ``gid`` stands before a line's name in the SVG's ids."""
    for line in lines:
        _draw_line(axes, line, _shifted(figure, axes, line), f"{gid}{clean(line.name)}".replace(" ", "_"))


def _shifted(figure: Figure, axes: Axes, line: Line[Any]) -> Transform:
    return axes.transData + ScaledTranslation(line.apart_points / 72, 0, figure.dpi_scale_trans)


def _draw_line(axes: Axes, line: Line[Any], shifted: Transform, gid: str) -> None:
    xs, ys = [point.x for point in line.points], [point.y for point in line.points]
    style: dict[str, Any] = {"marker": line.marker, "markersize": _MARKER_POINTS, "markeredgecolor": "white", "markeredgewidth": 0.8}
    common: dict[str, Any] = {"color": line.colour, "transform": shifted, "clip_on": False}  # a marker at 0% or 100% is seen whole
    axes.plot(xs, ys, label=clean(line.name), linewidth=1.6, zorder=3, gid=gid, **common, **style)
    hollow = [point for point in line.points if point.is_hollow]
    if hollow:
        open_style = {**style, "markerfacecolor": "white", "markeredgecolor": line.colour, "markeredgewidth": 1.4, "linestyle": "none"}
        axes.plot([point.x for point in hollow], [point.y for point in hollow], zorder=4, **common, **open_style)
    for point in line.points:
        if point.low is not None and point.high is not None:
            ends: dict[str, Any] = {"marker": "_", "markersize": 5, "alpha": 0.5}
            axes.plot([point.x] * 2, [point.low, point.high], linewidth=1.1, zorder=2, **common, **ends)


@dataclass(frozen=True, slots=True)
class _Marked:
    """A marker in pixels."""

    line: Line[Any]
    point: Placed
    box: Box
    apart: float

    def is_beside(self, other: _Marked) -> bool:
        """The same budgets, and but for the shift of its line the same place: one label is enough."""
        x, other_x = self.box.x - self.apart, other.box.x - other.apart
        width = 2 * self.box.half_width
        return self.point.label == other.point.label and abs(x - other_x) < width and abs(self.box.y - other.box.y) < width


def label_points(axes: Axes, lines: Sequence[Line[Any]]) -> None:
    """Write each point's label beside it. To be called when it is known where everything is.

    Lines that have a point at one place with one label share it.
    """
    pixels = axes.figure.dpi / 72  # of a typographic point
    marked = [_marked(axes, line, point, pixels) for line in lines for point in line.points]
    labelled = [one for number, one in enumerate(marked) if not any(map(one.is_beside, marked[:number]))]
    sizes = [((len(one.point.label) * _LETTER[0] + _MARGIN_POINTS) * pixels, (_LETTER[1] + _MARGIN_POINTS) * pixels) for one in labelled]
    obstacles = [one.box for one in marked] + _drawn(axes, lines, pixels)
    places = place([one.box for one in labelled], sizes, obstacles, _frame(axes), _GAP_POINTS * pixels)
    for one, there in zip(labelled, places, strict=True):
        is_shared = sum(map(one.is_beside, marked)) > 1
        offset = ((there.x - one.box.x + one.apart) / pixels, (there.y - one.box.y) / pixels)
        text: dict[str, Any] = {"color": GREY if is_shared else one.line.colour, "fontsize": _LABEL_SIZE, "ha": "center", "va": "center"}
        axes.annotate(clean(one.point.label), (one.point.x, one.point.y), offset, textcoords="offset points", annotation_clip=False, **text)


def _frame(axes: Axes) -> Box:
    frame = axes.get_window_extent()
    return Box((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2, frame.width / 2, frame.height / 2)


def _marked(axes: Axes, line: Line[Any], point: Placed, pixels: float) -> _Marked:
    half = _MARKER_POINTS * pixels / 2
    return _Marked(line, point, Box(*_pixel(axes, line, (point.x, point.y), pixels), half, half), line.apart_points * pixels)


def _drawn(axes: Axes, lines: Sequence[Line[Any]], pixels: float) -> list[Box]:
    """The lines and intervals, as obstacles."""
    drawn: list[Box] = []
    for line in lines:
        ends = [((one.x, one.y), (two.x, two.y)) for one, two in pairwise(line.points)]
        ends += [((one.x, one.low), (one.x, one.high)) for one in line.points if one.low is not None and one.high is not None]
        for start, end in ends:
            drawn += dots(_pixel(axes, line, start, pixels), _pixel(axes, line, end, pixels), pixels)
    return drawn


def _pixel(axes: Axes, line: Line[Any], there: tuple[float, float], pixels: float) -> tuple[float, float]:
    x, y = axes.transData.transform(there)
    return float(x) + line.apart_points * pixels, float(y)
