# SPDX-License-Identifier: Apache-2.0
"""The endpoint for load balancers: ready, draining or not ready. (With a server: tests/server/test_drain.py.)"""

import socket
import struct
import urllib.error
import urllib.request

import pytest

from budgetforce.errors import ConfigError
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.readiness import readiness_endpoint


def answer(port, method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/ready", method=method), timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def port():
    return choose_ports(http=0, grpc=0, metrics=0).http


@pytest.mark.parametrize(
    ("draining", "reason", "expected"),
    [
        (False, None, (200, "ready\n")),
        (False, "the engine does not answer", (503, "the engine does not answer\n")),
        (True, None, (404, "draining\n")),
        (True, "Triton is not ready", (404, "draining\n")),
    ],
)
def test_each_state_has_a_code_of_its_own(port, draining, reason, expected):
    with readiness_endpoint("127.0.0.1", port, lambda: draining, lambda: reason):
        assert answer(port) == expected
        assert answer(port, "HEAD") == (expected[0], "")
    with pytest.raises(urllib.error.URLError):
        answer(port)


def test_a_drain_that_begins_during_the_check_is_the_answer(port):
    states = iter([False, True])
    with readiness_endpoint("127.0.0.1", port, lambda: next(states), lambda: "the server is stopping"):
        assert answer(port) == (404, "draining\n")


def test_a_balancer_that_closes_at_once_leaves_no_traceback(port, capfd):
    """HAProxy reads the status, and resets the connection."""
    with readiness_endpoint("127.0.0.1", port, lambda: False, lambda: None):
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", port)) as check:
                check.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                check.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert answer(port) == (200, "ready\n")
    assert capfd.readouterr().err == ""


def test_without_a_port_nothing_listens():
    with readiness_endpoint("nowhere.invalid", None, lambda: False, lambda: None):
        pass


def test_a_port_in_use_is_refused_by_the_options_name(port):
    again = readiness_endpoint("127.0.0.1", port, lambda: False, lambda: None)
    with readiness_endpoint("127.0.0.1", port, lambda: False, lambda: None), pytest.raises(ConfigError, match="--ready-port"), again:
        pass
