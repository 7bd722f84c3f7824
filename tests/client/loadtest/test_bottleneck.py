# SPDX-License-Identifier: Apache-2.0
import re
from typing import get_args

from client.loadtest.records import level, request
from s1_client.loadtest._bottleneck import Kind, limits
from s1_client.loadtest._record import GaugeRange, Latencies

IDLE = {"s1_requests_waiting": 0, "s1_requests_waiting_max": 8, "s1_replies_running": 2, "s1_replies_max": 4}
OF_S1 = '{model_instance="s1_0_0"}'


def gauges(num=9, **values):
    """The gauges of model s1, and those of another model, which are full."""
    found = {f"{name}{OF_S1}": GaugeRange(mean=value, highest=value, num=num) for name, value in {**IDLE, **values}.items()}
    other = {f'{name}{{model_instance="s1_small_0_0"}}': GaugeRange(mean=99.0, highest=99.0, num=num) for name in IDLE}
    return {**found, **other}


def watched(*requests, server=None, **rest):
    """A level whose server's metrics were read."""
    return level(*requests, server=server or {}, **rest)


def found(loaded, baseline=None):
    return [(limit.kind, limit.evidence) for limit in limits(baseline or level(request()), loaded, "s1")]


def test_full_places_with_a_queue_are_named_with_their_number():
    loaded = watched(request(), gauges=gauges(s1_requests_waiting=3, s1_replies_running=4))
    assert found(loaded) == [("places", "s1_replies_running reached s1_replies_max, 4, and up to 3 requests waited for a place")]
    assert found(watched(request(), gauges=gauges(s1_replies_running=4))) == [("unknown", "no measured value stands out")]


def test_a_full_kv_reservation_is_told_from_full_places():
    loaded = watched(request(), gauges=gauges(s1_requests_waiting=3, s1_kv_tokens_reserved=950, s1_kv_tokens_max=1000))
    assert found(loaded) == [("kv", "s1_kv_tokens_reserved reached 950 of 1000, and up to 3 requests waited for room")]
    no_limit = watched(request(), gauges=gauges(s1_requests_waiting=3, s1_kv_tokens_reserved=950, s1_kv_tokens_max=0))
    assert [kind for kind, _ in found(no_limit)] == ["unknown"]


def test_rejections_come_first():
    loaded = watched(request(), request(end="Overloaded"), gauges=gauges(s1_requests_waiting=8, s1_replies_running=4))
    kinds = found(loaded)
    assert kinds[0] == ("queue", "1 of 2 requests were rejected; up to 8 of 8 requests waited (s1_requests_waiting)")
    assert kinds[1][0] == "places"


def test_an_engine_that_decodes_slower_is_told_by_the_inter_token_latency():
    slower = request(inter_token_latencies_ms=Latencies(thinking=(15.0,), answer=(15.0,)))
    assert found(watched(slower, gauges=gauges())) == [
        ("engine", "the median inter-token latency grew from 11.0 ms at the least load to 15.0 ms")
    ]


def test_a_first_token_that_waits_in_the_engine_is_told_from_one_in_our_queue():
    """By the mean of s1_queue_seconds."""
    late = request(time_to_first_token_ms=60.0)
    for queued_s, kinds in ((0.001, ["engine"]), (0.03, ["unknown"])):
        counters = {f"s1_queue_seconds_sum{OF_S1}": queued_s * 10, f"s1_queue_seconds_count{OF_S1}": 10.0}
        assert [kind for kind, _ in found(watched(late, gauges=gauges(), server=counters))] == kinds


def test_orchestration_and_cpu_are_told_from_the_servers_metrics():
    counters = {f"s1_orchestration_seconds_sum{OF_S1}": 3.0, f"s1_request_duration_seconds_sum{OF_S1}": 10.0}
    busy = {**gauges(), "nv_cpu_utilization": GaugeRange(mean=0.95, highest=1.0, num=9)}
    assert found(watched(request(), gauges=busy, server=counters)) == [
        ("orchestration", "30% of the replies' time passed outside queue and engine (s1_orchestration_seconds)"),
        ("cpu", "the CPUs of the server's machine were 95% busy (nv_cpu_utilization)"),
    ]


def test_a_driver_that_sends_late_is_no_limit_of_the_server():
    late = watched(request(start_s=1.0, sent_s=1.05), request(start_s=2.0, sent_s=2.0), request(start_s=3.0, sent_s=3.03), gauges=gauges())
    ((kind, evidence),) = found(late)
    assert kind == "driver" and evidence.startswith("half of the requests were sent 30 ms late or more")


def test_without_metrics_that_is_said():
    assert found(level(request(end="Overloaded"))) == [
        ("queue", "1 of 1 requests were rejected"),
        ("unknown", "the server's metrics were not read (--metrics-url): its queue, places, KV cache and CPU are unknown"),
    ]


def test_gauges_of_a_level_that_is_too_short_say_nothing():
    loaded = level(request(), server={}, gauges=gauges(num=2, s1_requests_waiting=3, s1_replies_running=4))
    nothing, why = found(loaded)
    assert nothing == ("unknown", "no measured value stands out")
    assert why[1].startswith("the level was too short to watch the server's gauges (2 readings; --requests makes it longer): its queue")


def test_the_pages_explain_every_kind(root):
    """Load testing what its evidence is, operations what helps."""
    kinds = set(get_args(Kind))
    (evidence,) = re.findall(r"\| kind \| evidence \|\n.*?\n\n", (root / "docs/load-testing.md").read_text(), re.S)
    assert set(re.findall(r"^\| `(\w+)` \|", evidence, re.M)) == kinds
    (remedies,) = re.findall(r"\| what limits, says `s1 loadtest` \|.*?\n\n", (root / "docs/operations.md").read_text(), re.S)
    assert {kind for row in re.findall(r"^\| (`.*?) \|", remedies, re.M) for kind in re.findall(r"`(\w+)`", row)} == kinds - {"unknown"}
