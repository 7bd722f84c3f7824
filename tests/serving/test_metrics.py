# SPDX-License-Identifier: Apache-2.0
"""Counts become metrics; a server without any is served all the same."""

from collections import Counter
from types import SimpleNamespace

import pytest
import triton_python_backend_utils as pb_utils

from budgetforce.serving.logs import ServerLog
from budgetforce.serving.metrics import Metrics
from budgetforce.serving.model import log_writers

LOG = ServerLog(log_writers())


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch):
    monkeypatch.setattr(pb_utils.MetricFamily, "metrics", {})


def runtime(*, num_running=0, num_waiting=0, num_open=0, ready=True, draining=False, heartbeat_at=1e9, **ends):
    admission = SimpleNamespace(num_running=num_running, num_waiting=num_waiting)
    orchestrator = SimpleNamespace(admission=admission, num_open=num_open, end_counts=Counter(ends), is_draining=draining)
    return SimpleNamespace(orchestrator=orchestrator, engine_is_ready=ready, heartbeat_at=heartbeat_at)


def published():
    return {(name, dict(labels).get("end", "")): metric.value for (name, labels), metric in pb_utils.MetricFamily.metrics.items() if labels}


def test_gauges_follow_and_counters_grow():
    metrics = Metrics("s1_0_0", LOG)
    metrics.publish(runtime(num_running=2, num_waiting=1, num_open=3, done=5))
    metrics.publish(runtime(num_running=1, num_open=1, ready=False, draining=True, heartbeat_at=1e9 + 0.5, done=7, CANCELLED=1))
    assert published() == {
        ("s1_requests_open", ""): 1,
        ("s1_replies_running", ""): 1,
        ("s1_requests_waiting", ""): 0,
        ("s1_engine_ready", ""): 0,
        ("s1_draining", ""): 1,
        ("s1_heartbeat_timestamp_seconds", ""): 1e9 + 0.5,
        ("s1_requests_total", "done"): 7,
        ("s1_requests_total", "CANCELLED"): 1,
    }


def test_a_runtime_without_a_heartbeat_publishes_none():
    Metrics("s1_0_0", LOG).publish(runtime(heartbeat_at=None))
    assert not {"s1_heartbeat_timestamp_seconds", "s1_draining"} & {name for name, _ in published()}


def test_unchanged_values_are_not_published_again(monkeypatch):
    metrics, one = Metrics("s1_0_0", LOG), runtime(done=1)
    metrics.publish(one)
    monkeypatch.setattr(pb_utils.Metric, "set", lambda *_: pytest.fail("published again"))
    monkeypatch.setattr(pb_utils.Metric, "increment", lambda *_: pytest.fail("published again"))
    metrics.publish(one)


def test_a_server_without_metrics_is_logged_once(monkeypatch):
    def refuse(*_, **__):
        raise pb_utils.TritonModelException("metrics are disabled")

    monkeypatch.setattr(pb_utils.MetricFamily, "__init__", refuse)
    pb_utils.Logger.entries.clear()
    metrics = Metrics("s1_0_0", LOG)
    metrics.publish(runtime(done=1))
    assert pb_utils.Logger.entries == [("error", "s1: there will be no metrics: metrics are disabled")]
