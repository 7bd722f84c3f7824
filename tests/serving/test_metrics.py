# SPDX-License-Identifier: Apache-2.0
"""State and measurements become metrics; a server without any is served all the same."""

import ast
import inspect
from types import SimpleNamespace

import pytest
import triton_python_backend_utils as pb_utils

from budgetforce.serving import request_measures
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.measurements import Measurements
from budgetforce.serving.metric_definitions import BUILD_INFO, BUILD_LABELS, METRICS, Kind
from budgetforce.serving.metrics import GAUGES, Metrics
from budgetforce.serving.model import log_writers

LOG = ServerLog(log_writers())
BUILD = dict.fromkeys(BUILD_LABELS, "x")
CONFIG = SimpleNamespace(max_waiting=9, max_replies=4, max_kv_tokens=0)


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch):
    monkeypatch.setattr(pb_utils.MetricFamily, "metrics", {})


def runtime(
    *, num_running=0, num_waiting=0, num_tokens=0, num_open=0, ready=True, draining=False, rejecting=False, heartbeat_at=1e9, ends=()
):
    admission = SimpleNamespace(num_running=num_running, num_waiting=num_waiting, num_tokens=num_tokens)
    measurements = Measurements()
    for end in ends:
        measurements.increment("s1_requests_total", end=end)
    orchestrator = SimpleNamespace(
        admission=admission, num_open=num_open, measurements=measurements, is_draining=draining, rejects_new=rejecting, config=CONFIG
    )
    return SimpleNamespace(orchestrator=orchestrator, engine_is_ready=ready, heartbeat_at=heartbeat_at)


def published(name):
    """The values of a metric by its labels, without the label of all."""
    found = {labels: metric.value for (found, labels), metric in pb_utils.MetricFamily.metrics.items() if found == name}
    assert all(("model_instance", "s1_0_0") in labels for labels in found)
    return {tuple(value for label, value in sorted(labels) if label != "model_instance"): number for labels, number in found.items()}


def gauges():
    return {name: published(name).get(()) for name in GAUGES}


def test_gauges_follow_the_state():
    metrics = Metrics("s1_0_0", BUILD, LOG)
    metrics.publish(runtime(num_running=2, num_waiting=1, num_open=3))
    metrics.publish(runtime(num_running=1, num_tokens=70, num_open=1, ready=False, draining=True, rejecting=True, heartbeat_at=1e9 + 0.5))
    assert gauges() == {
        "s1_requests_open": 1,
        "s1_requests_waiting": 0,
        "s1_requests_waiting_max": 9,
        "s1_replies_running": 1,
        "s1_replies_max": 4,
        "s1_kv_tokens_reserved": 70,
        "s1_kv_tokens_max": 0,
        "s1_engine_ready": 0,
        "s1_draining": 2,
        "s1_heartbeat_timestamp_seconds": 1e9 + 0.5,
    }


def test_measurements_are_published_once():
    metrics, one = Metrics("s1_0_0", BUILD, LOG), runtime(ends=["done", "done", "CANCELLED"])
    one.orchestrator.measurements.observe("s1_queue_seconds", 0.5)
    metrics.publish(one)
    metrics.publish(one)
    ends = published("s1_requests_total")
    assert (ends["done",], ends["CANCELLED",], ends["INTERNAL",]) == (2, 1, 0)
    (queue,) = (metric for (name, _), metric in pb_utils.MetricFamily.metrics.items() if name == "s1_queue_seconds")
    assert queue.observations == [0.5]
    assert queue.buckets == sorted(METRICS["s1_queue_seconds"].buckets)


def test_every_counter_and_histogram_exists_before_anything_happened():
    """A counter that first appears at 1 has no increase in Prometheus."""
    Metrics("s1_0_0", BUILD, LOG)
    for name, definition in METRICS.items():
        if definition.kind is not Kind.GAUGE:
            expected = {tuple(value for _, value in sorted(labels.items())) for labels in definition.series()}
            assert set(published(name)) == expected
            assert set(published(name).values()) == {0}
    assert len(published("s1_tokens_total")) == 11
    assert published(BUILD_INFO) == {("x",) * len(BUILD_LABELS): 1}


def test_every_gauge_is_read_from_the_runtime():
    assert set(GAUGES) == {name for name, definition in METRICS.items() if definition.kind is Kind.GAUGE} - {BUILD_INFO}


def test_every_counter_and_histogram_is_measured_somewhere():
    """``s1_requests_total`` by the orchestrator, ``s1_spans_total`` where spans are sent, the others where a request's end is measured."""
    texts = {node.value for node in ast.walk(ast.parse(inspect.getsource(request_measures))) if isinstance(node, ast.Constant)}
    defined = {name for name, definition in METRICS.items() if definition.kind is not Kind.GAUGE}
    assert {text for text in texts if isinstance(text, str)} & defined == defined - {"s1_requests_total", "s1_spans_total"}


def test_a_runtime_without_a_heartbeat_publishes_none():
    Metrics("s1_0_0", BUILD, LOG).publish(runtime(heartbeat_at=None))
    assert [gauges()[name] for name in ("s1_heartbeat_timestamp_seconds", "s1_draining")] == [None, None]


def test_unchanged_values_are_not_published_again(monkeypatch):
    metrics, one = Metrics("s1_0_0", BUILD, LOG), runtime(ends=["done"])
    metrics.publish(one)
    monkeypatch.setattr(pb_utils.Metric, "set", lambda *_: pytest.fail("published again"))
    monkeypatch.setattr(pb_utils.Metric, "increment", lambda *_: pytest.fail("published again"))
    metrics.publish(one)


def test_a_server_without_metrics_is_logged_once(monkeypatch):
    """And the measurements are dropped: they must not fill the memory."""

    def refuse(*_, **__):
        raise pb_utils.TritonModelException("metrics are disabled")

    monkeypatch.setattr(pb_utils.MetricFamily, "__init__", refuse)
    pb_utils.Logger.entries.clear()
    metrics, one = Metrics("s1_0_0", BUILD, LOG), runtime(ends=["done"])
    metrics.publish(one)
    assert pb_utils.Logger.entries == [("error", "s1: there will be no metrics: metrics are disabled")]
    assert not one.orchestrator.measurements.take().increments
