# SPDX-License-Identifier: Apache-2.0
"""A drain behind a load balancer: no new request is lost, and running ones obey commands to the end."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from budgetforce.health import why_not_ready
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.readiness import readiness_endpoint
from s1_client import Cancelled, Client, Done, ServerNotReady, ThinkingDelta
from server.conftest import scripted_server
from server.waiting import gauge, wait_until

END, EOS = 2, 0
DRAINING = 's1_draining{model_instance="s1_scripted_0_0"}'


@contextmanager
def balanced(server):
    """A client of the running server, and a function that checks it as a balancer does."""
    port = choose_ports(http=0, grpc=0, metrics=0).http
    http, metrics = (f"127.0.0.1:{one}" for one in (server.ports.http, server.ports.metrics))

    def check():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    ready = readiness_endpoint("127.0.0.1", port, lambda: server.is_draining, lambda: why_not_ready(http, metrics))
    with ready, server, Client(server.grpc_url, model="s1_scripted", max_retries=0) as client:
        yield client, check


def begun(client, script):
    stream = client.stream(script.question, max_thinking_tokens=3000)
    while not isinstance(next(stream), ThinkingDelta):
        pass
    return stream


def test_a_server_that_is_stopped_loses_no_request(root, scripts, scripts_folder, tmp_path, a):
    """The balancer here sends requests until two checks have failed, and goes on sending commands."""
    server = scripted_server(root, scripts_folder, tmp_path / "repository", tmp_path / "triton.log")
    server.drains, server.drain_s, server.lame_duck_s = True, 30, 4
    quick, slow = scripts.write([END], [a, EOS]), [scripts.write([a] * 3000, [a, EOS], delay_ms=50) for _ in range(2)]
    with balanced(server) as (client, check), ThreadPoolExecutor(1) as pool:
        answered, cancelled = (begun(client, script) for script in slow)
        wait_until(lambda: check() == 200, seconds=15)
        stopping = pool.submit(server.stop)
        checks, num_served = [200, 200], 0
        while checks != [404, 404]:
            checks = [checks[-1], check()]
            assert client.think(quick.question, num_ignore=0, max_tokens=5).answer == "Final Answer:a"
            num_served += 1
        assert num_served >= 2
        assert gauge(server, DRAINING) < 2  # so all of that happened while it was only announced
        wait_until(lambda: gauge(server, DRAINING) == 2, seconds=15)
        with pytest.raises(ServerNotReady, match="the server is stopping, and takes no more requests") as refused:
            client.think(quick.question)
        assert refused.value.retryable
        assert check() == 404
        answered.answer_now()
        (done,) = [event for event in answered if isinstance(event, Done)]
        assert done.result.thinking_end == "answer_now"
        cancelled.cancel()
        with pytest.raises(Cancelled):
            list(cancelled)
        stopping.result(timeout=30)
    assert "Exit timeout expired" not in server.log.read_text()  # Triton had nothing to wait for
