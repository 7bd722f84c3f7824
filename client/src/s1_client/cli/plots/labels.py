# SPDX-License-Identifier: Apache-2.0
"""Place labels beside their points: at the first of several candidate places that covers nothing else. In pixels.

Knows only rectangles, no plots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

# Above, below, right, left, then the diagonals.
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (1.0, 2.0, 3.0, 5.0, 7.0)  # in gaps
_STEP = 4.0  # pixels between the squares that represent a line


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, given by its centre and half of its width and height."""

    x: float
    y: float
    half_width: float
    half_height: float

    def overlap(self, other: Box) -> float:
        """Return the area that both rectangles cover."""
        width = min(self.x + self.half_width, other.x + other.half_width) - max(self.x - self.half_width, other.x - other.half_width)
        height = min(self.y + self.half_height, other.y + other.half_height) - max(self.y - self.half_height, other.y - other.half_height)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        """The area of the rectangle."""
        return 4 * self.half_width * self.half_height


def dots(start: tuple[float, float], end: tuple[float, float], half_width: float) -> Iterator[Box]:
    """Yield small squares along a straight line."""
    (x0, y0), (x1, y1) = start, end
    number = int(max(abs(x1 - x0), abs(y1 - y0)) / _STEP) + 1
    for step in range(number + 1):
        share = step / number
        yield Box(x0 + share * (x1 - x0), y0 + share * (y1 - y0), half_width, half_width)


def place(points: Sequence[Box], sizes: Sequence[tuple[float, float]], obstacles: Iterable[Box], frame: Box, gap: float) -> list[Box]:
    """Return a place for the label of each point, inside ``frame`` if possible; ``sizes`` holds widths and heights."""
    taken = [*obstacles, *points]
    placed = []
    for point, (width, height) in zip(points, sizes, strict=True):
        near = [box for box in taken if box.overlap(_reach(point, width, height, gap))]
        best = min(_around(point, width / 2, height / 2, gap), key=partial(_fault, near=near, frame=frame))
        placed.append(best)
        taken.append(best)
    return placed


def _fault(box: Box, near: Sequence[Box], frame: Box) -> float:
    """Return the area that a label at this place covers or has outside the frame."""
    return round(sum(map(box.overlap, near)) + box.area - box.overlap(frame), 3)


def _reach(point: Box, width: float, height: float, gap: float) -> Box:
    """Return the rectangle that holds all candidates: most of the thousands of obstacles are outside, and cover none."""
    far = _DISTANCES[-1] * gap
    return Box(point.x, point.y, point.half_width + width + far, point.half_height + height + far)


def _around(point: Box, half_width: float, half_height: float, gap: float) -> Iterator[Box]:
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            x = point.x + right * (point.half_width + half_width + distance * gap)
            y = point.y + up * (point.half_height + half_height + distance * gap)
            yield Box(x, y, half_width, half_height)
