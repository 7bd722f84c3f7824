# SPDX-License-Identifier: Apache-2.0
"""Collects increments and observations on the event loop until the publisher takes them. Independent of Triton.

Publishing a value is a round trip to the server (15 µs on an idle machine), so it happens on another thread, and never per token.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from budgetforce.serving.metric_definitions import METRICS, Kind

Series = tuple[str, frozenset[tuple[str, str]]]  # a metric's name and its labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The measurements between two publications.

    Attributes:
        increments: of counters.
        observations: of histograms, in order.
    """

    increments: Counter[Series] = field(default_factory=Counter)
    observations: list[tuple[Series, float]] = field(default_factory=list)


class Measurements:
    """Collects measurements. Safe to use from several threads.

    ``increment`` and ``observe`` raise AssertionError for a metric that is not defined: a bug of ours.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batch = Batch()

    def increment(self, name: str, number: float = 1, **labels: str) -> None:
        """Add ``number`` to a counter."""
        assert METRICS[name].kind is Kind.COUNTER, name
        if number:
            with self._lock:
                self._batch.increments[_series(name, labels)] += number  # type: ignore[assignment]  # a Counter may hold floats

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        assert METRICS[name].kind is Kind.HISTOGRAM, name
        with self._lock:
            self._batch.observations.append((_series(name, labels), value))

    def take(self) -> Batch:
        """Return what has been collected since the last call."""
        with self._lock:
            batch, self._batch = self._batch, Batch()
        return batch


def _series(name: str, labels: dict[str, str]) -> Series:
    assert set(labels) == set(METRICS[name].labels), f"{name}: got {set(labels)}, defined {set(METRICS[name].labels)}"
    return name, frozenset(labels.items())
