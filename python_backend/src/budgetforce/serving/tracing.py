# SPDX-License-Identifier: Apache-2.0
"""Sets tracing up: from the model's parameters to a function that takes each traced request when it has ended. Independent of Triton."""

from __future__ import annotations

from collections.abc import Callable

from budgetforce.config import OrchestratorConfig
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.measurements import Measurements
from budgetforce.serving.request_measures import EndedRequest
from budgetforce.serving.span_export import SpanExport
from budgetforce.serving.spans import spans_of
from budgetforce.trace_target import SERVICE, check_url, require_opentelemetry


class Tracing:
    """Exports the spans of the traced requests of one process; without ``trace_url`` nothing, and then OpenTelemetry is not imported.

    Attributes:
        measurements: those of the process, which also count spans.
    """

    def __init__(self, config: OrchestratorConfig, model: str, instance: str, log: ServerLog) -> None:
        """``model``, ``instance``: Triton's names for the model and this process.

        Raises ConfigError for a URL that is not allowed, and if OpenTelemetry is not installed.
        """
        self.measurements = Measurements()
        self._model, self._engine_model, self._log = model, config.engine_model, log
        self._export = _export_to(config.trace_url, instance, self.measurements, log.warning) if config.trace_url else None

    def take(self, request: EndedRequest) -> None:
        """Take a traced request that has ended. Never blocks, and never raises: its client may still wait for its error."""
        if self._export is None:
            return
        try:
            self._export.put(spans_of(request, model=self._model, engine_model=self._engine_model))
        except Exception:  # noqa: BLE001  # a bug of ours
            self._log.exception("the spans of a request could not be made")

    def close(self) -> None:
        """Send the last spans; waits for the receiver for some seconds at most."""
        if self._export is not None:
            self._export.close()


def _export_to(url: str, instance: str, measurements: Measurements, warn: Callable[[str], None]) -> SpanExport:
    name = "parameter 'trace_url'"
    check_url(name, url)
    require_opentelemetry(name)
    from budgetforce.serving.otlp import OtlpSender  # imports OpenTelemetry, which is an extra

    sender = OtlpSender(url, {"service.name": SERVICE, "service.instance.id": instance})

    def count(result: str, num_spans: int) -> None:
        measurements.increment("s1_spans_total", num_spans, result=result)

    return SpanExport(sender, count, warn, url)
