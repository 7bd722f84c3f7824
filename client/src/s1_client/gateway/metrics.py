# SPDX-License-Identifier: Apache-2.0
"""The gateway's metrics, in Prometheus' text format. What the engine and the server do is in Triton's own metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from s1_client._types import Done, Event, Result

CONTENT_TYPE = CONTENT_TYPE_LATEST
_APIS = {
    "/v1/chat/completions": "chat",
    "/v1/chat/completions/control": "control",
    "/v1/responses": "responses",
    "/v1/completions": "completions",
    "/v1/messages": "messages",
}
REGISTRY = CollectorRegistry()
_REQUESTS = Counter(
    "s1_gateway_requests", "requests that ended, by API and HTTP status (499: the caller has gone)", ["api", "status"], registry=REGISTRY
)
_OPEN = Gauge("s1_gateway_open_requests", "requests that have arrived and not ended", ["api"], registry=REGISTRY)
_TOKENS = Counter("s1_gateway_tokens", "tokens of complete replies, by phase", ["phase"], registry=REGISTRY)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST = Histogram(
    "s1_gateway_first_event_seconds",
    "from a request's validation to the server's first event, of streams",
    registry=REGISTRY,
    buckets=_SECONDS,
)
_WHOLE = Histogram("s1_gateway_request_seconds", "from a request's validation to its end", ["api"], registry=REGISTRY, buckets=_SECONDS)


class Meter:
    """Counts one request, from its validation to its end."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._started = time.monotonic()
        self._has_ended = False
        _OPEN.labels(api).inc()

    def first_event(self) -> None:
        """Note the time of the first event of a stream."""
        _FIRST.observe(time.monotonic() - self._started)

    def event(self, event: Event) -> None:
        """Count the tokens that the last event of a sample reports."""
        if isinstance(event, Done):
            self.count([event.result])

    def count(self, results: Iterable[Result]) -> None:
        """Count the tokens of complete samples."""
        for result in results:
            _TOKENS.labels("thinking").inc(result.usage.num_thinking_tokens)
            _TOKENS.labels("answer").inc(result.usage.num_answer_tokens + result.usage.num_answer_injected)

    def end(self, status: int) -> None:
        """Note the end of the request with an HTTP status. Only the first call counts."""
        if self._has_ended:
            return
        self._has_ended = True
        _OPEN.labels(self._api).dec()
        _REQUESTS.labels(self._api, status).inc()
        _WHOLE.labels(self._api).observe(time.monotonic() - self._started)


def refused(path: str, status: int) -> None:
    """Count a request for a path that was refused before it reached the server."""
    _REQUESTS.labels(_api_of(path), status).inc()


def _api_of(path: str) -> str:
    """Return the label of a path. A caller's own words never become one: each label is a time series for ever."""
    return _APIS.get(path) or ("models" if path.startswith("/v1/models") else "other")


def exposition() -> bytes:
    """Return all metrics as text."""
    return generate_latest(REGISTRY)
