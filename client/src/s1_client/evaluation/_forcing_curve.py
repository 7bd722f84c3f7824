# SPDX-License-Identifier: Apache-2.0
"""The curve of budget forcing: rising budgets, and beyond the largest of them rising numbers of refused ends. Pure.

This is the line of Figure 1 (left) of "s1: Simple test-time scaling": its Control, Scaling and Performance cover both parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from s1_client.evaluation._protocol import NO_LIMIT

NAME = "budgets, then refused ends"


class Forced(Protocol):
    """A setting or its row in a report."""

    @property
    def kind(self) -> str: ...
    @property
    def curve(self) -> str: ...
    @property
    def limit(self) -> int: ...
    @property
    def num_ignore(self) -> int: ...


AnyForced = TypeVar("AnyForced", bound=Forced)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcingCurve(Generic[AnyForced]):
    """The two parts of the curve.

    Attributes:
        budgets: settings without a refused end, by rising budget; at least two.
        refused: ignore string -> settings at the largest budget, by rising number of refused ends; each at least one.
            The key is "" for the preset's own string.
    """

    budgets: Sequence[AnyForced]
    refused: Mapping[str, Sequence[AnyForced]]

    @property
    def names(self) -> dict[str, str]:
        """The name of the whole curve for each ignore string."""
        return {string: f"{NAME} by {string}" if string else NAME for string in self.refused}


def forcing_curve(settings: Sequence[AnyForced]) -> ForcingCurve[AnyForced] | None:
    """Return the curve of settings of kind ``budget``; None without two budgets, or without a refused end at the largest."""
    forced = [setting for setting in settings if setting.kind == "budget"]
    budgets = sorted((setting for setting in forced if not setting.num_ignore), key=_length)
    if len(budgets) < 2:  # a curve has two points
        return None
    refused: dict[str, list[AnyForced]] = {}
    for setting in sorted(forced, key=lambda setting: setting.num_ignore):
        if setting.num_ignore and setting.limit == budgets[-1].limit:
            refused.setdefault(setting.curve.partition(" by ")[2], []).append(setting)
    return ForcingCurve(budgets=budgets, refused=refused) if refused else None


def _length(setting: Forced) -> tuple[bool, int]:
    return setting.limit == NO_LIMIT, setting.limit
