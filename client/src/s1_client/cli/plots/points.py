# SPDX-License-Identifier: Apache-2.0
"""A sweep's summary as points and lines, which ``plot`` draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from s1_client.cli.evaluate.sweep_summary import Row, Summary, budget_name
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
class Point:
    """A place on the plot; ``low`` and ``high`` bound its interval, if it has one.

    Attributes:
        budgets: those that led there, in order: beyond what the model wants to think they all do.
        number: of replies, for each.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    budgets: tuple[int, ...]
    number: int

    @property
    def is_hollow(self) -> bool:
        """Whether its x and its y are of different replies: never, here."""
        return False

    @property
    def label(self) -> str:
        """Its budgets."""
        names = [budget_name(budget) for budget in self.budgets]
        return names[0] if len(names) == 1 else f"{names[0]}–{names[-1]}"


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


def lines_of(summary: Summary) -> list[Line[Point]]:
    """A line for each number of ignores."""
    groups = [(str(ignore), list(rows)) for ignore, rows in groupby(summary.rows, key=lambda row: row.num_ignore)]
    return lines_apart({ignore: _joined([point for row in group if (point := _point(row, summary.is_graded))]) for ignore, group in groups})


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


def _point(row: Row, is_graded: bool) -> Point | None:
    y = row.accuracy if is_graded else row.mean_answer_tokens
    if row.mean_thinking_tokens is None or y is None:
        return None
    low, high = (row.accuracy_low, row.accuracy_high) if is_graded else (None, None)
    number = row.num_graded if is_graded else row.num_replies
    return Point(x=row.mean_thinking_tokens, y=y, low=low, high=high, budgets=(row.max_thinking_tokens,), number=number)


def _joined(points: Sequence[Point]) -> list[Point]:
    """Budgets that lead to one place as one point."""
    joined: list[Point] = []
    for point in points:
        if joined and _is_near(joined[-1], point):
            joined[-1] = replace(joined[-1], budgets=joined[-1].budgets + point.budgets)
        else:
            joined.append(point)
    return joined


def _is_near(one: Point, other: Point) -> bool:
    """Closer than a marker is wide, on either kind of axis."""
    return one.y == other.y and one.number == other.number and abs(one.x - other.x) <= 0.01 * max(one.x, other.x)
