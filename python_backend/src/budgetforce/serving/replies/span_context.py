# SPDX-License-Identifier: Apache-2.0
"""The place of a span in a trace, and its text form ``traceparent`` (W3C Trace Context, level 1). Independent of OpenTelemetry."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?")
_SAMPLED = 1  # of the flags


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanContext:
    """The place of a span in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_id: span id of the parent; "" for the root of a trace, and for a context that came from elsewhere.
        is_sampled: whether the trace is recorded.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    is_sampled: bool = True

    @classmethod
    def root(cls) -> SpanContext:
        """Return the root of a new trace."""
        return cls(trace_id=secrets.token_hex(16), span_id=secrets.token_hex(8))

    def child(self) -> SpanContext:
        """Return a new span's context, with this span as its parent."""
        return SpanContext(trace_id=self.trace_id, span_id=secrets.token_hex(8), parent_id=self.span_id, is_sampled=self.is_sampled)

    @property
    def traceparent(self) -> str:
        """The value of the header that makes the receiver's spans children of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.is_sampled else 0:02x}"


def parse_traceparent(text: str) -> SpanContext | None:
    """Return the context that a header's value stands for; None for a malformed value, which W3C Trace Context says to ignore."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return None
    if not int(match["trace"], 16) or not int(match["span"], 16):
        return None
    return SpanContext(trace_id=match["trace"], span_id=match["span"], is_sampled=bool(int(match["flags"], 16) & _SAMPLED))
