# SPDX-License-Identifier: Apache-2.0
"""The points of an evaluation's figures, made of the rows of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from s1_client.evaluation._intervals import Estimate
from s1_client.evaluation._protocol import REBASE, limit_name
from s1_client.evaluation._report import Report, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a figure: its place, the bounds of its interval, its label.

    Attributes:
        is_hollow: x is the mean over accepted replies, while y counts the other replies as wrong.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    label: str
    is_hollow: bool = False


def points_of(report: Report, curve: str) -> list[Point]:
    """Return the points of a curve by rising thinking; without a graded question y is the mean length of the answer."""
    is_graded = any(row.accuracy for row in report.rows)
    point = _point if is_graded else _ungraded_point
    points = [placed for row in report.rows if row.curve == curve and (placed := point(row)) is not None]
    return sorted(joined(points), key=lambda point: point.x)


def joined(points: Sequence[Point]) -> list[Point]:
    """Return the points with those at the same place as one, labelled with the first and last limit: "512–context".

    Budgets beyond the length of the thinking all lead to the same place.
    """
    groups: list[list[Point]] = []
    for point in points:
        if groups and _is_near(groups[-1][0], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    return [group[0] if len(group) == 1 else replace(group[0], label=f"{group[0].label}–{group[-1].label}") for group in groups]


def _is_near(point: Point, other: Point) -> bool:
    """Return whether the points are closer than a marker is wide, on a linear and on a logarithmic axis."""
    same = [(item.y, item.low, item.high, item.is_hollow) for item in (point, other)]
    return same[0] == same[1] and abs(point.x - other.x) <= 0.01 * max(point.x, other.x)


def _ungraded_point(row: Row) -> Point | None:
    if row.mean_thinking_tokens is None or row.mean_answer_tokens is None:
        return None
    return Point(x=row.mean_thinking_tokens, y=row.mean_answer_tokens, low=None, high=None, label=label_of(row))


def _point(row: Row) -> Point | None:
    if row.mean_thinking_tokens is None or row.accuracy is None:
        return None
    return replace(placed(row.mean_thinking_tokens, row.accuracy, label_of(row)), is_hollow=row.num_unaccepted > 0)


def label_of(row: Row) -> str:
    """Return the limit of a row, or the word or width that stands for it."""
    return row.setting.rpartition(" ")[2] if row.kind in ("class", REBASE) else limit_name(row.limit)


def placed(x: float, share: Estimate, label: str) -> Point:
    """Return the point of an accuracy with its interval."""
    return Point(x=x, y=share.value, low=share.low, high=share.high, label=label)
