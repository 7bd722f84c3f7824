# SPDX-License-Identifier: Apache-2.0
"""Publishes the orchestrator's counts as Prometheus metrics of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.serving.logs import ServerLog
from budgetforce.serving.runtime import Runtime

COUNTER = "s1_requests_total"
COUNTER_HELP = "Requests that have ended, by outcome: done, or an error's code"
GAUGES: dict[str, tuple[str, Callable[[Runtime], float | None]]] = {
    "s1_requests_open": ("Requests that have arrived and not ended", lambda runtime: runtime.orchestrator.num_open),
    "s1_replies_running": ("Samples that are running", lambda runtime: runtime.orchestrator.admission.num_running),
    "s1_requests_waiting": ("Requests that wait in the queue", lambda runtime: runtime.orchestrator.admission.num_waiting),
    "s1_engine_ready": ("1 if the engine answers, else 0", lambda runtime: int(runtime.engine_is_ready)),
    "s1_draining": (
        "1 if the server is draining and rejects new requests, else 0",
        # A serial runtime reads the drain file only with its next request: until then its 0 could be wrong.
        lambda runtime: None if runtime.heartbeat_at is None else int(runtime.orchestrator.is_draining),
    ),
    # The last gauges of a dead process stay in Triton's metrics for ever: an old heartbeat tells that they are stale.
    "s1_heartbeat_timestamp_seconds": ("Unix time of this process's last heartbeat", lambda runtime: runtime.heartbeat_at),
}


class Metrics:
    """Publishes the values that have changed. Label ``instance`` tells the processes of a model apart.

    A server without metrics refuses to make any: that is logged, and nothing is published.
    """

    def __init__(self, instance: str, log: ServerLog) -> None:
        self._labels = {"instance": instance}
        self._log = log
        self._published: dict[str, float] = {}
        self._metrics: dict[str, Any] = {}
        self._families: dict[str, Any] = {}  # kept, because a metric disappears with its family
        self._is_on = self._attempt(self._make_families)

    def publish(self, runtime: Runtime) -> None:
        """Send the values that have changed; each is a round trip to the server."""
        self._is_on = self._is_on and self._attempt(lambda: self._publish(runtime))

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except pb_utils.TritonModelException as error:
            self._log.error(f"there will be no metrics: {error}")
            return False
        return True

    def _make_families(self) -> None:
        self._families[COUNTER] = pb_utils.MetricFamily(name=COUNTER, description=COUNTER_HELP, kind=pb_utils.MetricFamily.COUNTER)
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
