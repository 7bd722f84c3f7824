# SPDX-License-Identifier: Apache-2.0
"""The behaviour of both clients on a bad network, against any server. Imported beside ``behaviour``."""

import socket

import pytest

from client.balancer import CANCEL, INTERNAL_ERROR, Balancer
from client.behaviour import STORY, first_thought
from client.proxy import Proxy
from s1_client import Cancelled, ConnectionFailed, _settings
from server.waiting import wait_until


@pytest.fixture
def proxy(served):
    with Proxy(served.url) as proxy:
        yield proxy


@pytest.fixture
def balancer(served):
    with Balancer(served.url) as balancer:
        yield balancer


REPLICA_DIES = {
    "HAProxy": lambda balancer: balancer.reset_streams(CANCEL),
    "Envoy, nginx": lambda balancer: balancer.reset_streams(INTERNAL_ERROR),
}


@pytest.mark.parametrize("way", list(REPLICA_DIES))
def test_a_replica_that_dies_behind_a_balancer_is_a_connection_that_failed(connect, served, balancer, way):
    """Nobody cancelled, and a retry may succeed. Both errors hold the part that was received."""
    question = served.says(thinking=STORY, delay_ms=5)
    stream = connect(balancer.url, max_retries=2).stream(question, request_id="reset", max_tokens=9)
    first_thought(stream)
    REPLICA_DIES[way](balancer)
    with pytest.raises(ConnectionFailed, match=f"the connection to {balancer.url} broke") as broken:
        list(stream)
    assert (broken.value.request_id, broken.value.retryable) == ("reset", True)
    assert " one" in broken.value.partial[0].thinking
    assert balancer.num_streams == 1
    wait_until(lambda: served.was_stopped(question), seconds=10)


def test_an_end_without_trailers_is_noticed_by_keepalive(connect, served, balancer, monkeypatch):
    """gRPC reports it only when our half of the stream has ended, too, or the connection is dead."""
    monkeypatch.setattr(_settings, "KEEPALIVE_TIMEOUT_S", 0.5)
    stream = connect(balancer.url, keepalive_s=0.5, max_retries=2).stream(served.says(thinking=STORY, delay_ms=5), max_tokens=9)
    first_thought(stream)
    balancer.end_streams()
    with pytest.raises(ConnectionFailed) as broken:
        list(stream)
    assert broken.value.retryable
    assert " one" in broken.value.partial[0].thinking


def test_a_replica_that_dies_before_anything_has_come_is_tried_again(connect, served, balancer):
    balancer.is_holding = True
    stream = connect(balancer.url, max_retries=2).stream(served.says(thinking=" one", answer=" four"), num_ignore=0, max_tokens=9)
    wait_until(lambda: balancer.num_streams, seconds=5)
    balancer.reset_streams(CANCEL)
    assert stream.reply().answer.endswith(" four")
    assert balancer.num_streams > 1, balancer.num_streams


@pytest.mark.parametrize("way", ["cut", "half_close"])
def test_a_connection_that_breaks_is_told_of_with_what_had_come(connect, served, proxy, way):
    """And not retried after the first event. The server notices, and stops the engine."""
    question = served.says(thinking=STORY, delay_ms=5)
    stream = connect(proxy.url, max_retries=2).stream(question, request_id="cut", max_tokens=9)
    first_thought(stream)
    getattr(proxy, way)()
    with pytest.raises(ConnectionFailed) as broken:
        list(stream)
    assert (broken.value.request_id, " one" in broken.value.partial[0].thinking) == ("cut", True)
    wait_until(lambda: served.was_stopped(question), seconds=10)


def test_a_client_whose_connection_broke_makes_another(connect, served, proxy):
    client = connect(proxy.url, max_retries=2)
    question = served.says(answer=" four")
    for number in (1, 2):
        assert client.think(question, num_ignore=0, max_tokens=9).answer.endswith(" four")
        assert proxy.num_connections == number
        proxy.cut()


def test_a_connection_that_breaks_before_anything_has_come_is_made_again(connect, served, proxy):
    question = served.says(thinking=" one", answer=" four")
    client = connect(proxy.url, max_retries=2)
    client.think(question, num_ignore=0, max_tokens=9)  # now the connection is made
    proxy.hold_responses()
    num_chunks = proxy.num_client_chunks
    stream = client.stream(question, num_ignore=0, max_tokens=9)
    wait_until(lambda: proxy.num_client_chunks > num_chunks, seconds=5)
    proxy.cut()
    assert stream.reply().answer.endswith(" four")
    assert proxy.num_connections > 1, proxy.num_connections


@pytest.mark.parametrize(("delay_s", "chunk"), [(0.05, 65536), (0, 7)])
def test_slow_and_torn_bytes_are_a_whole_reply(connect, served, proxy, delay_s, chunk):
    proxy.delay_s, proxy.chunk = delay_s, chunk
    reply = connect(proxy.url).think(served.says(thinking=" one two", answer=" four"), num_ignore=0, max_tokens=9)
    assert reply.answer.endswith(" four")


def test_a_connection_that_is_refused_is_a_failure_at_once(connect, served, proxy):
    proxy.refuse()
    with pytest.raises(ConnectionFailed, match=rf"^no server at {proxy.url} \(connection refused\) \[UNAVAILABLE: ") as refused:
        connect(proxy.url).think("hi")
    assert refused.value.retryable


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(connect):
    """The connect timeout is independent of the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ConnectionFailed, match=f"no gRPC server at {url}: it accepts connections and sends nothing"):
            connect(url, connect_timeout_s=0.3, deadline_s=5).think("hi")


def test_a_request_that_never_got_there_can_be_cancelled(connect):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        stream = connect(f"127.0.0.1:{mute.getsockname()[1]}", connect_timeout_s=60).stream("hi")
        stream.cancel()
        with pytest.raises(Cancelled):
            list(stream)


def test_a_network_that_swallows_everything_is_noticed(connect, served, proxy, monkeypatch):
    """Keepalive pings notice it, long before the deadline."""
    monkeypatch.setattr(_settings, "KEEPALIVE_TIMEOUT_S", 0.5)
    question = served.says(thinking=STORY, delay_ms=5)
    stream = connect(proxy.url, keepalive_s=0.5, deadline_s=600).stream(question, max_tokens=9)
    first_thought(stream)
    proxy.freeze()
    with pytest.raises(ConnectionFailed):
        list(stream)


def test_a_stream_can_be_left_when_the_server_is_gone(connect, served, proxy):
    stream = connect(proxy.url).stream(served.says(thinking=STORY, delay_ms=5), max_tokens=9)
    first_thought(stream)
    proxy.refuse()
    proxy.cut()
    stream.close()
    assert list(stream) == []
