# SPDX-License-Identifier: Apache-2.0
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from s1_client.loadtest._counters import GaugeWatch, combined, counter_deltas, counters_in, gauges_in, read_counters

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


def test_metrics_that_do_not_answer_are_named():
    url = "http://127.0.0.1:1/metrics"
    with pytest.raises(OSError, match=f"the metrics at {url} cannot be read: .*refused"):
        read_counters([url])


HISTOGRAM = """# TYPE s1_queue_seconds histogram
s1_queue_seconds_count{model_instance="s1_0_0"} 4
s1_queue_seconds_sum{model_instance="s1_0_0"} 1.5
s1_queue_seconds_bucket{model_instance="s1_0_0",le="0.1"} 3
# TYPE nv_inference_count counter
nv_inference_count{model="s1"} 5
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.5
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization 0.5
"""


def test_sums_and_counts_of_histograms_are_counters_and_buckets_are_not():
    assert counters_in(HISTOGRAM) == {
        's1_queue_seconds_count{model_instance="s1_0_0"}': 4.0,
        's1_queue_seconds_sum{model_instance="s1_0_0"}': 1.5,
        'nv_inference_count{model="s1"}': 5.0,
    }


def test_s1s_gauges_and_the_cpu_use_are_kept():
    assert gauges_in(TEXT + HISTOGRAM) == {'s1_requests_open{model_instance="s1_0_0"}': 7.0, "nv_cpu_utilization": 0.5}


def test_the_cpu_use_of_several_machines_is_that_of_the_busiest():
    """A sum of shares would call two machines that are half idle completely busy."""
    first, second = {"nv_cpu_utilization": 0.5, "s1_g": 1.0}, {"nv_cpu_utilization": 0.625, "s1_g": 2.0}
    assert combined([first, second, {"s1_g": 4.0}]) == {"nv_cpu_utilization": 0.625, "s1_g": 7.0}
    assert combined([{"s1_g": 1.0}]) == {"s1_g": 1.0}


@pytest.fixture
def metrics():
    """Serve /metrics whose gauge counts the readings: 1, 2, 3, …; the URL, and the readings."""
    readings = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            readings.append(len(readings) + 1.0)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"# TYPE s1_g gauge\ns1_g {readings[-1]}\n# TYPE c counter\nc {readings[-1]}\n".encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/metrics", readings
        server.shutdown()


def test_gauges_are_watched_while_a_level_runs_and_several_servers_are_summed(metrics):
    """Both URLs are this server, so a reading is the sum of two numbers that follow each other."""
    url, readings = metrics
    with GaugeWatch([url, url]) as watch:
        while len(readings) < 4:
            time.sleep(0.01)
    (found,) = watch.ranges().values()
    assert found.num == len(readings) // 2 and found.highest == readings[-1] + readings[-2]
    assert found.mean == pytest.approx(sum(readings) / found.num)
    assert read_counters([url, url]) == {"c": 2 * len(readings) - 1.0}


@pytest.mark.parametrize("urls", [(), ("http://127.0.0.1:1/metrics",)])
def test_without_a_reading_there_are_no_gauges(urls):
    with GaugeWatch(urls) as watch:
        pass
    assert watch.ranges() is None
