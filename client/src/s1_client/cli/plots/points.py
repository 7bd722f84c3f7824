# SPDX-License-Identifier: Apache-2.0
"""Lines of a figure and their points, before they are drawn: a colour, a marker and a shift for each line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from s1_client.cli.plots.style import COLOURS, MARKERS

_SHIFT_POINTS, _MAX_SHIFT_POINTS = 4.0, 12.0  # small shifts that keep coinciding lines visible


class PlotPoint(Protocol):
    """A point of a figure: its place, the bounds of its interval, and its label."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def label(self) -> str: ...
    @property
    def is_hollow(self) -> bool: ...


AnyPoint = TypeVar("AnyPoint", bound=PlotPoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Generic[AnyPoint]):
    """A line of a figure with its points, such as all budgets with the same num_ignore.

    Attributes:
        shift_points: shift to the right, in typographic points.
    """

    name: str
    colour: str
    marker: str
    shift_points: float
    points: Sequence[AnyPoint]


def shifted_lines(points: Mapping[str, Sequence[AnyPoint]]) -> list[Line[AnyPoint]]:
    """Return a line for each name, with its own colour, marker and horizontal shift."""
    step = min(_SHIFT_POINTS, _MAX_SHIFT_POINTS / len(points)) if points else 0
    return [
        Line(
            name=name,
            colour=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            shift_points=step * (number - (len(points) - 1) / 2),
            points=placed,
        )
        for number, (name, placed) in enumerate(points.items())
    ]
