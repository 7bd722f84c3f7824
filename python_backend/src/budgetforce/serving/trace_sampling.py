# SPDX-License-Identifier: Apache-2.0
"""Decides which requests are traced, and finds the caller's trace in a request. Independent of Triton."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from budgetforce.serving.replies.span_context import SpanContext, parse_traceparent
from budgetforce.trace_target import HEADER

_ANY = random.SystemRandom()  # the global one may be seeded by a library


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSampling:
    """Chooses the requests that are traced.

    Attributes:
        is_on: whether any request is traced.
        rate: share of the requests that begin a trace, among those without a caller's trace.
    """

    is_on: bool = False
    rate: float = 1.0

    def span_of(self, parents: Sequence[SpanContext | None]) -> SpanContext | None:
        """Return the place of a request's span, None if the request is not traced.

        ``parents``: the contexts that came with the request, the nearest first. If any of them says that the trace is not recorded,
        the request is not traced: Triton 24.10 to 26.07 records such traces nevertheless, and marks its own span as recorded.
        """
        if not self.is_on:
            return None
        found = [parent for parent in parents if parent is not None]
        if not found:
            return SpanContext.root() if _ANY.random() < self.rate else None
        return found[0].child() if all(parent.is_sampled for parent in found) else None


def context_in(carrier: str | None) -> SpanContext | None:
    """Return the context under key ``traceparent`` of a JSON object: of Triton's trace context, or of a request's parameters.

    None if there is none, or if it is malformed: a request is never refused for its trace.
    """
    if carrier is None or HEADER not in carrier:
        return None
    try:
        value: Any = json.loads(carrier).get(HEADER)
    except (ValueError, AttributeError):
        return None
    return parse_traceparent(value) if isinstance(value, str) else None
