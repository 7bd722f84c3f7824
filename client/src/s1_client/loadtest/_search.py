# SPDX-License-Identifier: Apache-2.0
"""The search for the largest load at which an objective holds: double the load until it fails, bisect, and confirm.

Pure: the next load follows from the trials so far, so a search continues from its record. Measurements are noisy, and the
search leans to the safe side: a single trial in which the objective fails condemns a load and all larger ones, and the
capacity must hold in ``NUM_CONFIRMATIONS`` trials. If it fails its confirmation, the search goes on below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from s1_client.loadtest._objective import Objective
from s1_client.loadtest._typed import Malformed

NUM_CONFIRMATIONS = 2
_GROWTH = 2  # from a load that holds to the next, until one fails
_LEAST_PRECISION, _MOST_PRECISION = 1.0, 50.0
_NUM_DIGITS = 3  # of a request rate


class Trial(NamedTuple):
    """A level of the search: its load, and whether the objective held."""

    load: float
    holds: bool


class Bracket(NamedTuple):
    """The trials' result so far.

    Attributes:
        held: the largest load below ``failed`` at which the objective held; None if there is none.
        failed: the smallest load at which the objective failed; None if there is none.
        num_held: number of trials in which ``held`` held.
    """

    held: float | None
    failed: float | None
    num_held: int

    @property
    def is_confirmed(self) -> bool:
        """Whether the objective held often enough at ``held``."""
        return self.num_held >= NUM_CONFIRMATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySearch:
    """A search: the loads from ``least`` to ``most`` and the objective. Raises Malformed.

    Attributes:
        mode: the load is a concurrency, or a request rate in 1/s.
        least: the first load; also the baseline to which larger loads are compared.
        precision_percent: the search ends when the smallest load that failed exceeds the largest that held by no more.
    """

    mode: Literal["concurrency", "request_rate"]
    least: float
    most: float
    precision_percent: float = 10.0
    objective: Objective

    def __post_init__(self) -> None:
        if not _LEAST_PRECISION <= self.precision_percent <= _MOST_PRECISION:
            raise Malformed(f"precision_percent: got {self.precision_percent:g}, allowed: {_LEAST_PRECISION:g} to {_MOST_PRECISION:g}")
        if self.mode == "concurrency" and not (self.least >= 1 and self.least % 1 == self.most % 1 == 0):
            raise Malformed(f"search: got {self.least:g}:{self.most:g}, allowed: integers >= 1 for a concurrency")
        if not 0 < self.least < self.most < 1e6:
            raise Malformed(f"search: got {self.least:g}:{self.most:g}, allowed: MIN:MAX with 0 < MIN < MAX")

    def bracket(self, trials: Sequence[Trial]) -> Bracket:
        """Return the largest load that held and the smallest that failed."""
        failed = min((trial.load for trial in trials if not trial.holds), default=None)
        good = [trial.load for trial in trials if trial.holds and (failed is None or trial.load < failed)]
        held = max(good, default=None)
        return Bracket(held, failed, sum(load == held for load in good))

    def next_load(self, trials: Sequence[Trial]) -> float | None:
        """Return the load of the next trial; None if the search has ended."""
        held, failed, _ = bracket = self.bracket(trials)
        if held is None:
            return self.least if failed is None or failed > self.least else None
        wider = self._between(held, failed) if failed is not None else self._doubled(held)
        if wider is not None:
            return wider
        return None if bracket.is_confirmed else held

    def _doubled(self, held: float) -> float | None:
        return min(held * _GROWTH, self.most) if held < self.most else None

    def _between(self, held: float, failed: float) -> float | None:
        """Return the middle of a bracket; None if it is narrow enough."""
        if failed - held <= max(self.precision_percent / 100 * held, 1.0 if self.mode == "concurrency" else 0.0):
            return None
        middle = (held + failed) / 2
        middle = float(int(middle)) if self.mode == "concurrency" else float(f"{middle:.{_NUM_DIGITS}g}")
        return middle if held < middle < failed else None
