# SPDX-License-Identifier: Apache-2.0
"""Publishes the orchestrator's state and measurements as Prometheus metrics of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.serving.logs import ServerLog
from budgetforce.serving.measurements import Series
from budgetforce.serving.metric_definitions import BUILD_INFO, METRICS, Kind
from budgetforce.serving.runtime import Runtime

GAUGES: Mapping[str, Callable[[Runtime], float | None]] = {
    "s1_requests_open": lambda runtime: runtime.orchestrator.num_open,
    "s1_requests_waiting": lambda runtime: runtime.orchestrator.admission.num_waiting,
    "s1_requests_waiting_max": lambda runtime: runtime.orchestrator.config.max_waiting,
    "s1_replies_running": lambda runtime: runtime.orchestrator.admission.num_running,
    "s1_replies_max": lambda runtime: runtime.orchestrator.config.max_replies,
    "s1_kv_tokens_reserved": lambda runtime: runtime.orchestrator.admission.num_tokens,
    "s1_kv_tokens_max": lambda runtime: runtime.orchestrator.config.max_kv_tokens,
    "s1_engine_ready": lambda runtime: int(runtime.engine_is_ready),
    # A serial runtime reads the drain file only with its next request: until then its 0 could be wrong.
    "s1_draining": lambda runtime: (
        None if runtime.heartbeat_at is None else runtime.orchestrator.is_draining + runtime.orchestrator.rejects_new
    ),
    # The last gauges of a dead process stay in Triton's metrics for ever: an old heartbeat tells that they are stale.
    "s1_heartbeat_timestamp_seconds": lambda runtime: runtime.heartbeat_at,
}


class Metrics:
    """Publishes new values. Label ``model_instance`` tells the processes of a model apart.

    A server without metrics refuses to make any: that is logged, and nothing is published.
    """

    def __init__(self, model_instance: str, build: Mapping[str, str], log: ServerLog) -> None:
        """``build``: a value for each of ``BUILD_LABELS``."""
        self._labels = {"model_instance": model_instance}
        self._log = log
        self._gauges: dict[str, float] = {}  # as they were published
        self._metrics: dict[Series, Any] = {}
        self._families: dict[str, Any] = {}  # kept, because a metric disappears with its family
        self._is_on = self._attempt(lambda: self._create(build))

    def publish(self, runtime: Runtime) -> None:
        """Send gauges that have changed and new measurements; each value is a round trip to the server."""
        batch = runtime.orchestrator.measurements.take()  # taken without metrics too, or they would grow
        if self._is_on:
            self._is_on = self._attempt(lambda: self._publish_gauges(runtime))
        for series, number in batch.increments.items():
            self._is_on = self._is_on and self._attempt(lambda: self._metric(series).increment(number))  # noqa: B023  # called at once
        for series, value in batch.observations:
            self._is_on = self._is_on and self._attempt(lambda: self._metric(series).observe(value))  # noqa: B023  # called at once

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except pb_utils.TritonModelException as error:
            self._log.error(f"there will be no metrics: {error}")
            return False
        return True

    def _create(self, build: Mapping[str, str]) -> None:
        """Create every metric with every value of its labels, at 0. Gauges appear with their first value."""
        for definition in METRICS.values():
            kind = getattr(pb_utils.MetricFamily, definition.kind.name)
            self._families[definition.name] = pb_utils.MetricFamily(name=definition.name, description=definition.meaning, kind=kind)
            if definition.kind is not Kind.GAUGE:
                for labels in definition.series():
                    self._metric((definition.name, frozenset(labels.items())))
        self._metric((BUILD_INFO, frozenset(build.items()))).set(1)

    def _publish_gauges(self, runtime: Runtime) -> None:
        for name, read in GAUGES.items():
            value = read(runtime)
            if value is not None and self._gauges.get(name) != value:
                self._gauges[name] = value
                self._metric((name, frozenset())).set(value)

    def _metric(self, series: Series) -> Any:
        if series not in self._metrics:
            name, labels = series
            buckets = {"buckets": list(METRICS[name].buckets)} if METRICS[name].kind is Kind.HISTOGRAM else {}
            self._metrics[series] = self._families[name].Metric(labels={**self._labels, **dict(labels)}, **buckets)
        return self._metrics[series]
