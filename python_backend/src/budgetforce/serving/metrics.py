# SPDX-License-Identifier: Apache-2.0
"""The orchestrator's counts as Prometheus metrics of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.serving.runtime import Runtime

COUNTER = "s1_requests_total"
GAUGES: dict[str, tuple[str, Callable[[Runtime], float | None]]] = {
    "s1_requests_open": ("Requests that have come and not ended", lambda runtime: runtime.orchestrator.num_open),
    "s1_replies_running": ("Samples that run", lambda runtime: runtime.orchestrator.admission.num_running),
    "s1_requests_waiting": ("Requests that wait for room", lambda runtime: runtime.orchestrator.admission.num_waiting),
    "s1_engine_ready": ("1 if the engine answers, else 0", lambda runtime: int(runtime.engine_is_ready)),
    "s1_draining": (
        "1 if the server is to stop and takes no more requests",
        lambda runtime: (
            None if runtime.heartbeat_at is None else int(runtime.orchestrator.is_draining)
        ),  # else it notices with the next request
    ),
    # A process that is dead leaves its last gauges in Triton's metrics for ever: what is older than this is not true any more.
    "s1_heartbeat_timestamp_seconds": ("When this process last showed that it lives, in Unix time", lambda runtime: runtime.heartbeat_at),
}


class Metrics:
    """Publishes what has changed. ``instance`` tells the processes of a model apart.

    A server without metrics refuses to make any: that is logged, and nothing is published.
    """

    def __init__(self, instance: str) -> None:
        self._labels = {"instance": instance}
        self._published: dict[str, float] = {}
        self._metrics: dict[str, Any] = {}
        self._families: dict[str, Any] = {}  # kept: with its family a metric goes, too
        self._is_on = self._attempt(self._make_families)

    def publish(self, runtime: Runtime) -> None:
        """Tell the server; each change is a round trip to it."""
        self._is_on = self._is_on and self._attempt(lambda: self._publish(runtime))

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except pb_utils.TritonModelException as error:
            pb_utils.Logger.log_error(f"s1: there will be no metrics: {error}")
            return False
        return True

    def _make_families(self) -> None:
        description = "Requests that have ended, by how: done, or an error's code"
        self._families[COUNTER] = pb_utils.MetricFamily(name=COUNTER, description=description, kind=pb_utils.MetricFamily.COUNTER)
        for name, (description, _) in GAUGES.items():
            self._families[name] = pb_utils.MetricFamily(name=name, description=description, kind=pb_utils.MetricFamily.GAUGE)

    def _publish(self, runtime: Runtime) -> None:
        for name, (_, read) in GAUGES.items():
            value = read(runtime)
            if value is not None and self._published.get(name) != value:
                self._published[name] = value
                self._metric(name).set(value)
        for end, number in list(runtime.orchestrator.end_counts.items()):
            new = number - self._published.get(end, 0)
            if new:
                self._published[end] = number
                self._metric(COUNTER, end=end).increment(new)

    def _metric(self, name: str, **labels: str) -> Any:
        key = labels.get("end", name)
        if key not in self._metrics:
            self._metrics[key] = self._families[name].Metric(labels={**self._labels, **labels})
        return self._metrics[key]
