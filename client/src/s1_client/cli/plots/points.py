# SPDX-License-Identifier: Apache-2.0
"""Lines of a figure and their points, before they are drawn: a colour, a marker and a shift for each line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from s1_client.cli.plots.style import COLOURS, MARKERS

_APART_POINTS, _MOST_APART_POINTS = 4.0, 12.0  # lines are shifted by so little that those which coincide are all seen


class Placed(Protocol):
    """A place on a figure, as far as drawing wants to know it."""

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


Drawn = TypeVar("Drawn", bound=Placed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Generic[Drawn]):
    """Points that belong together: the settings of a number of ignores, or of another curve.

    Attributes:
        apart_points: how far it is shifted to the right, in typographic points.
    """

    name: str
    colour: str
    marker: str
    apart_points: float
    points: Sequence[Drawn]


def lines_apart(points: Mapping[str, Sequence[Drawn]]) -> list[Line[Drawn]]:
    """A line for each name, with colours, markers and shifts of their own."""
    step = min(_APART_POINTS, _MOST_APART_POINTS / len(points)) if points else 0
    return [
        Line(
            name=name,
            colour=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            apart_points=step * (number - (len(points) - 1) / 2),
            points=placed,
        )
        for number, (name, placed) in enumerate(points.items())
    ]
