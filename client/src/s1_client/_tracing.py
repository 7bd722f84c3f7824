# SPDX-License-Identifier: Apache-2.0
"""The headers that make the server continue the trace in which a request is sent (W3C Trace Context).

Without OpenTelemetry in the program there are none, and nothing is imported: a current span can exist only if the program itself has
imported OpenTelemetry.
"""

from __future__ import annotations

import re
import sys
from contextvars import ContextVar

Headers = tuple[tuple[str, str], ...]

PARENT = "traceparent"
# traceparent of the request on whose behalf this one is sent, "" = none: for the gateway, which has no spans of its own.
parent: ContextVar[str] = ContextVar("s1_client_traceparent", default="")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")


def trace_headers(given: Headers = ()) -> Headers:
    """Return the headers of the current span, else of ``parent``. None of them if ``given``, the client's own headers, has a trace."""
    if any(name == PARENT for name, _ in given):
        return ()
    return _of_current_span() or _of_parent()


def _of_current_span() -> Headers:
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return tuple(headers.items())


def _of_parent() -> Headers:
    value = parent.get()
    return ((PARENT, value),) if _TRACEPARENT.fullmatch(value) else ()
