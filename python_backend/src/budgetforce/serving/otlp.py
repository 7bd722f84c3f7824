# SPDX-License-Identifier: Apache-2.0
"""Sends spans to a receiver in OpenTelemetry's protocol (OTLP over HTTP, protobuf), by OpenTelemetry's SDK.

The only module that imports OpenTelemetry, and itself imported only when tracing is on. Spans come with ids that were chosen when they
began, because the engine's spans already refer to them; the SDK asks an ``IdGenerator`` for ids, so this one returns those.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanKind, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace import SpanContext as OtelContext

from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.spans import Span

TIMEOUT_S = 5  # of an export, the SDK's retries included


class OtlpSender:
    """Sends spans to the receiver at ``url``. Belongs to a single thread.

    Headers for the receiver, certificates and compression are those of OpenTelemetry's environment variables
    (``OTEL_EXPORTER_OTLP_HEADERS`` and others), which Triton's exporter reads as well.
    """

    def __init__(self, url: str, resource: Mapping[str, str]) -> None:
        """``resource``: attributes of all spans, such as ``service.name``."""
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # else each failure is a line on stderr; we count them
        logging.getLogger("opentelemetry").propagate = False
        self._ids = _ChosenIds()
        self._ended = _EndedSpans()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(dict(resource)), id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("budgetforce")
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S)

    def send(self, spans: Sequence[Span]) -> bool:
        """Send spans; return whether the receiver took them. Blocks for ``TIMEOUT_S`` at most."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        for span in spans:
            self._make(span, offset_ns)
        return self._exporter.export(self._ended.take()) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End the SDK's waits between its retries."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _make(self, span: Span, offset_ns: int) -> None:
        self._ids.chosen = span.context
        made = self._tracer.start_span(
            span.name,
            context=_parent_of(span.context),
            kind=SpanKind[span.kind.value],
            attributes=dict(span.attributes),
            start_time=offset_ns + int(span.started * 1e9),
        )
        if span.error:
            made.set_attribute("error.type", span.error)
            made.set_status(StatusCode.ERROR)
        made.end(end_time=offset_ns + int(span.ended * 1e9))


def _parent_of(context: SpanContext) -> Context:
    if not context.parent_id:
        return Context()
    trace_id, span_id = int(context.trace_id, 16), int(context.parent_id, 16)
    parent = OtelContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent), Context())


class _ChosenIds(IdGenerator):
    """Returns the ids of the context that was set last."""

    chosen: SpanContext

    def generate_span_id(self) -> int:
        return int(self.chosen.span_id, 16)

    def generate_trace_id(self) -> int:
        return int(self.chosen.trace_id, 16)


class _EndedSpans(SpanProcessor):
    """Collects the spans that have ended."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """Return the spans since the last call."""
        spans, self._spans = self._spans, []
        return spans
