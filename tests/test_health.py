# SPDX-License-Identifier: Apache-2.0
"""The health check: ready, or a reason. (With a real server and a dead engine: tests/server/test_engine_outages.py.)"""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from budgetforce import health


@pytest.fixture
def server():
    """Answers /v2/health/ready with ``status`` and /metrics with ``metrics``."""

    class Handler(BaseHTTPRequestHandler):
        status, metrics = 200, ""

        def do_GET(self):
            is_metrics = self.path == "/metrics"
            self.send_response(200 if is_metrics else self.status)
            self.end_headers()
            self.wfile.write(self.metrics.encode() if is_metrics else b"")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        Handler.address = f"127.0.0.1:{running.server_port}"
        yield Handler
        running.shutdown()
        thread.join()


def test_the_proxy_of_the_environment_is_not_used(server, monkeypatch):
    """Docker sets http_proxy in the containers of a machine that has one."""
    server.metrics = 's1_engine_ready{model_instance="s1_0_0"} 1\n'
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert health.main(["--http", server.address, "--metrics", server.address]) == 0


@pytest.mark.parametrize(
    ("status", "metrics", "reason"),
    [
        (200, 's1_engine_ready{model_instance="s1_0_0"} 1\n', None),
        (200, 's1_engine_ready{model_instance="s1_0_0"} 1\ns1_engine_ready{model_instance="s1_0_1"} 0\n', "the engine does not answer"),
        (200, "other 1\n", "no s1 model is loaded"),
        (
            200,
            's1_engine_ready{model_instance="s1_0_0"} 1\ns1_heartbeat_timestamp_seconds{model_instance="s1_0_0"} 1764452865.1\n',
            "is dead or hangs",
        ),
        (200, 's1_engine_ready{model_instance="s1_0_0"} 1\ns1_draining{model_instance="s1_0_0"} 1\n', "the server is stopping"),
        (503, 's1_engine_ready{model_instance="s1_0_0"} 1\n', "Triton is not ready"),
    ],
)
def test_a_server_is_ready_or_there_is_a_reason(server, capsys, status, metrics, reason):
    server.status, server.metrics = status, metrics
    code = health.main(["--http", server.address, "--metrics", server.address])
    errors = capsys.readouterr().err
    assert code == (0 if reason is None else 1)
    assert (reason or "") in errors
    assert bool(errors) == (reason is not None)


def test_a_process_with_a_recent_heartbeat_is_ready(server):
    beat = f's1_heartbeat_timestamp_seconds{{model_instance="s1_0_0"}} {time.time()}\n'
    server.metrics = 's1_engine_ready{model_instance="s1_0_0"} 1\ns1_draining{model_instance="s1_0_0"} 0\n' + beat
    assert health.why_not_ready(server.address, server.address) is None


def test_no_server_is_not_ready(server):
    assert "not ready" in health.why_not_ready("127.0.0.1:1", server.address)
