# SPDX-License-Identifier: Apache-2.0
"""Draw the lines of a figure, and a label beside each point where nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.transforms import ScaledTranslation, Transform

from s1_client.cli.output import clean
from s1_client.cli.plots.labels import Box, dots, place
from s1_client.cli.plots.points import Line, PlotPoint
from s1_client.cli.plots.style import GREY

_MARKER_POINTS = 7.0
_LABEL_SIZE, _GAP_POINTS = 8.5, 1.5
_MARGIN_POINTS = 2.0  # around a label, so that two adjacent labels do not read as a single one


def draw_lines(figure: Figure, axes: Axes, lines: Sequence[Line[Any]], gid: str = "") -> None:
    """Draw the lines and the intervals of their points. ``gid`` is the prefix of a line's id in the SVG."""
    for line in lines:
        _draw_line(axes, line, _shifted(figure, axes, line), f"{gid}{clean(line.name)}".replace(" ", "_"))


def _shifted(figure: Figure, axes: Axes, line: Line[Any]) -> Transform:
    return axes.transData + ScaledTranslation(line.shift_points / 72, 0, figure.dpi_scale_trans)


def _draw_line(axes: Axes, line: Line[Any], shifted: Transform, gid: str) -> None:
    xs, ys = [point.x for point in line.points], [point.y for point in line.points]
    style: dict[str, Any] = {"marker": line.marker, "markersize": _MARKER_POINTS, "markeredgecolor": "white", "markeredgewidth": 0.8}
    common: dict[str, Any] = {"color": line.colour, "transform": shifted, "clip_on": False}  # a marker at 0% or 100% is not cut off
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
    """A drawn marker; ``box`` and ``shift`` are in pixels."""

    line: Line[Any]
    point: PlotPoint
    box: Box
    shift: float

    def is_beside(self, other: _Marked) -> bool:
        """Return whether both markers have the same label and place, apart from the shift: a single label is enough."""
        x, other_x = self.box.x - self.shift, other.box.x - other.shift
        width = 2 * self.box.half_width
        return self.point.label == other.point.label and abs(x - other_x) < width and abs(self.box.y - other.box.y) < width


def label_points(axes: Axes, lines: Sequence[Line[Any]]) -> None:
    """Write each point's label beside it. Call this after the figure's layout has been computed.

    Points of several lines at the same place with the same label share a single label.
    """
    pixels = axes.figure.dpi / 72  # of a typographic point
    marked = [_marked(axes, line, point, pixels) for line in lines for point in line.points]
    labelled = [marker for number, marker in enumerate(marked) if not any(map(marker.is_beside, marked[:number]))]
    height = (_LABEL_SIZE + _MARGIN_POINTS) * pixels
    sizes = [((_width_points(marker.point.label) + _MARGIN_POINTS) * pixels, height) for marker in labelled]
    obstacles = [marker.box for marker in marked] + _line_boxes(axes, lines, pixels)
    places = place([marker.box for marker in labelled], sizes, obstacles, _frame(axes), _GAP_POINTS * pixels)
    for marker, box in zip(labelled, places, strict=True):
        point, is_shared = marker.point, sum(map(marker.is_beside, marked)) > 1
        offset = ((box.x - marker.box.x + marker.shift) / pixels, (box.y - marker.box.y) / pixels)
        text: dict[str, Any] = {"color": GREY if is_shared else marker.line.colour, "fontsize": _LABEL_SIZE, "ha": "center", "va": "center"}
        axes.annotate(clean(point.label), (point.x, point.y), offset, textcoords="offset points", annotation_clip=False, **text)


def _width_points(label: str) -> float:
    return float(TextPath((0, 0), clean(label) or " ", size=_LABEL_SIZE).get_extents().width)


def _frame(axes: Axes) -> Box:
    frame = axes.get_window_extent()
    return Box((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2, frame.width / 2, frame.height / 2)


def _marked(axes: Axes, line: Line[Any], point: PlotPoint, pixels: float) -> _Marked:
    half = _MARKER_POINTS * pixels / 2
    return _Marked(line, point, Box(*_pixel(axes, line, (point.x, point.y), pixels), half, half), line.shift_points * pixels)


def _line_boxes(axes: Axes, lines: Sequence[Line[Any]], pixels: float) -> list[Box]:
    """Return boxes along all lines and intervals, which labels must not cover."""
    boxes: list[Box] = []
    for line in lines:
        ends = [((point.x, point.y), (after.x, after.y)) for point, after in pairwise(line.points)]
        ends += [((point.x, point.low), (point.x, point.high)) for point in line.points if point.low is not None and point.high is not None]
        for start, end in ends:
            boxes += dots(_pixel(axes, line, start, pixels), _pixel(axes, line, end, pixels), pixels)
    return boxes


def _pixel(axes: Axes, line: Line[Any], position: tuple[float, float], pixels: float) -> tuple[float, float]:
    x, y = axes.transData.transform(position)
    return float(x) + line.shift_points * pixels, float(y)
