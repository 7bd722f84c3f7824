# SPDX-License-Identifier: Apache-2.0
"""traceparent as W3C Trace Context defines it."""

import pytest
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from budgetforce.serving.replies.span_context import SpanContext, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALUES = [
    f"00-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-00",
    f"00-{TRACE}-{SPAN}-03",
    f"01-{TRACE}-{SPAN}-01-later",
    f"00-{TRACE}-{SPAN}-01-later",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE}-{SPAN}-1",
    f"00-{TRACE}-{SPAN}-01\r\nx: y",
    "",
    "nonsense",
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_means_the_same_as_to_opentelemetry(value):
    theirs = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": value})).get_span_context()
    ours = parse_traceparent(value)
    assert (ours is None) == (not theirs.is_valid)
    if ours is not None:
        found = int(ours.trace_id, 16), int(ours.span_id, 16), ours.is_sampled
        assert found == (theirs.trace_id, theirs.span_id, theirs.trace_flags.sampled)


def test_a_child_is_in_the_same_trace_with_an_id_of_its_own():
    root = SpanContext.root()
    child, other = root.child(), root.child()
    assert (root.parent_id, child.parent_id, child.trace_id) == ("", root.span_id, root.trace_id)
    assert len({root.span_id, child.span_id, other.span_id}) == 3
    assert parse_traceparent(child.traceparent) == SpanContext(trace_id=child.trace_id, span_id=child.span_id)
    assert SpanContext.root().trace_id != root.trace_id
