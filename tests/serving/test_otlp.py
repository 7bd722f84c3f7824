# SPDX-License-Identifier: Apache-2.0
"""Spans arrive at a real receiver as they were described, by OpenTelemetry's SDK."""

import logging
import time

import pytest

from budgetforce.serving import otlp
from budgetforce.serving.otlp import OtlpSender
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.spans import Kind, Span
from serving.receiving import receiver


@pytest.fixture(scope="module")
def receiving(tmp_path_factory):
    with receiver(tmp_path_factory.mktemp("otlp") / "spans") as receiving:
        yield receiving


def span(context, **changes):
    now = time.monotonic()
    return Span(**{"name": "s1.round", "kind": Kind.CLIENT, "context": context, "started": now - 2, "ended": now - 1, **changes})


def test_spans_arrive_with_their_ids_times_and_attributes(receiving):
    sender = OtlpSender(receiving.url, {"service.name": "s1", "service.instance.id": "s1_0_0"})
    root = SpanContext.root()
    child = root.child()
    attributes = {"s1.round": 3, "s1.gap_ms": 0.5, "s1.phase": "thinking", "gen_ai.response.finish_reasons": ["stop", "length"]}
    sent_at = time.time()
    assert sender.send([span(root, name="s1.request", kind=Kind.SERVER), span(child, attributes=attributes, error="ENGINE_FAILED")])
    parent, inner = receiving.trace(root.trace_id)
    assert [parent["spanId"], parent["parentSpanId"]] == [root.span_id, ""]
    assert [inner["spanId"], inner["parentSpanId"]] == [child.span_id, root.span_id]
    assert (parent["name"], parent["kind"], inner["kind"]) == ("s1.request", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT")
    assert inner["attributes"] == {**attributes, "error.type": "ENGINE_FAILED"}
    assert (parent["status"], inner["status"]) == ({}, {"code": "STATUS_CODE_ERROR"})
    assert inner["resource"].items() >= {"service.name": "s1", "service.instance.id": "s1_0_0"}.items()
    assert inner["end"] - inner["start"] == pytest.approx(1e9, abs=1e3)
    assert inner["start"] / 1e9 == pytest.approx(sent_at - 2, abs=1)


def test_the_environment_cannot_switch_spans_off_halfway(receiving, monkeypatch):
    """A sampler of the environment would drop spans whose ids the engine already has."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    root = SpanContext.root()
    assert OtlpSender(receiving.url, {"service.name": "s1"}).send([span(root)])
    assert len(receiving.trace(root.trace_id)) == 1


def test_a_receiver_that_is_gone_takes_nothing_and_the_sdk_writes_nothing(monkeypatch):
    """Its lines would stand in Triton's log, one for each message; we write one for an outage."""
    monkeypatch.setattr(otlp, "TIMEOUT_S", 0.5)
    sender = OtlpSender("http://127.0.0.1:1/v1/traces", {"service.name": "s1"})
    assert not sender.send([span(SpanContext.root())])
    assert not logging.getLogger("opentelemetry").propagate
