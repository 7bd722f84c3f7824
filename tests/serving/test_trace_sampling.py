# SPDX-License-Identifier: Apache-2.0
"""Which requests are traced, and under which parent."""

import json

import pytest

from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.trace_sampling import TraceSampling, context_in

TRITONS = SpanContext(trace_id="a" * 32, span_id="1" * 16)
CALLERS = SpanContext(trace_id="a" * 32, span_id="2" * 16)
UNSAMPLED = SpanContext(trace_id="a" * 32, span_id="2" * 16, is_sampled=False)


@pytest.mark.parametrize(("parents", "expected"), [([TRITONS, CALLERS], TRITONS), ([TRITONS, None], TRITONS), ([None, CALLERS], CALLERS)])
def test_a_callers_trace_is_continued_at_the_nearest_span_whatever_the_rate(parents, expected):
    span = TraceSampling(is_on=True, rate=0).span_of(parents)
    assert (span.trace_id, span.parent_id) == (expected.trace_id, expected.span_id)


def test_a_trace_that_its_caller_does_not_record_is_not_recorded_here():
    """Although Triton marks its own span as recorded."""
    assert TraceSampling(is_on=True, rate=1).span_of([TRITONS, UNSAMPLED]) is None


def test_the_rate_is_the_share_of_other_requests_that_begin_a_trace():
    none = [None, None]
    assert TraceSampling(is_on=True, rate=0).span_of(none) is None
    assert TraceSampling(is_on=True, rate=1).span_of(none).parent_id == ""
    some = TraceSampling(is_on=True, rate=0.5)
    assert 100 < sum(some.span_of(none) is not None for _ in range(400)) < 300  # misses once in 10^23


def test_nothing_is_traced_where_tracing_is_off():
    assert TraceSampling().span_of([TRITONS, CALLERS]) is None


def test_a_context_is_read_from_json():
    header = CALLERS.traceparent
    assert context_in(json.dumps({"traceparent": header, "id": "x"})) == CALLERS


@pytest.mark.parametrize(
    "carrier", [None, "", "{}", '{"traceparent": 5}', '{"traceparent": "x"}', '["traceparent"]', "traceparent", '{"traceparent']
)
def test_anything_else_is_no_context_and_no_error(carrier):
    assert context_in(carrier) is None
