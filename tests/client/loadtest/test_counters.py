# SPDX-License-Identifier: Apache-2.0
import pytest

from s1_client.loadtest._counters import counter_deltas, counters_in, read_counters

TEXT = """# HELP s1_requests_total Requests that have ended
# TYPE s1_requests_total counter
s1_requests_total{end="done",model_instance="s1_0_0"} 3
s1_requests_total{end="DEADLINE",model_instance="s1_0_0"} 1
# TYPE s1_requests_open gauge
s1_requests_open{model_instance="s1_0_0"} 7
# TYPE plain counter
plain 2.5
"""


def test_counters_are_read_and_gauges_are_not():
    assert counters_in(TEXT) == {
        's1_requests_total{end="done",model_instance="s1_0_0"}': 3.0,
        's1_requests_total{end="DEADLINE",model_instance="s1_0_0"}': 1.0,
        "plain": 2.5,
    }


def test_increments_are_returned_and_new_counters_start_at_zero():
    assert counter_deltas({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0, "c": 5.0}) == {"a": 2.0, "c": 5.0}


def test_without_metrics_there_are_no_counters():
    assert counter_deltas(read_counters([]), read_counters([])) is None


@pytest.mark.parametrize(
    "url", ["metrics", "http://a b/metrics", f"http://{'a' * 64}.com/metrics", "http://a..b/metrics", "http://a:x/metrics"]
)
def test_an_impossible_address_raises_oserror(url):
    with pytest.raises(OSError, match=r"\w"):
        read_counters([url])
