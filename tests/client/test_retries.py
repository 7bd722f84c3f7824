# SPDX-License-Identifier: Apache-2.0
"""Which requests are retried, and which never are. The delays are recorded instead of waited for."""

import pytest

from client.behaviour import CLIENTS, connecting
from s1_client import Cancelled, ConnectionFailed, EngineFailed, InvalidRequest, Overloaded, ServerNotReady, _exchange
from s1_client._settings import retry_delay_s
from s1_client.testing import FakeServer


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(answer=" four")
        yield server


@pytest.fixture(params=list(CLIENTS))
def connect(request, server):
    with connecting(request.param, server.url) as make:
        yield make


@pytest.fixture
def delays(monkeypatch):
    """The delays between attempts, recorded instead of waited for."""
    seen = []

    def record(attempt, retry_after_s, jitter):
        seen.append((attempt, retry_after_s))
        return 0.0

    monkeypatch.setattr(_exchange, "retry_delay_s", record)
    return seen


@pytest.mark.parametrize("error", [Overloaded("full", 7.5), ServerNotReady("loading"), ConnectionFailed("gone")])
def test_what_nobody_has_taken_is_sent_again(connect, server, delays, error):
    server.will_say(error=error)
    server.will_say(error=error)
    assert connect().think("hi").answer == " four"
    assert delays == [(0, getattr(error, "retry_after_s", None)), (1, getattr(error, "retry_after_s", None))]
    assert len({request.id for request in server.requests}) == 1


def test_so_many_times_and_no_more(connect, server, delays):
    server.says(error=Overloaded("full", 7.5))
    with pytest.raises(Overloaded, match="full") as refused:
        connect(max_retries=3).think("hi")
    assert (len(delays), refused.value.retry_after_s, refused.value.retryable) == (3, 7.5, True)
    with pytest.raises(Overloaded):
        connect(max_retries=0).think("hi")
    assert len(server.requests) == 4 + 1
    with pytest.raises(Overloaded):
        connect(max_retries=3).think("hi", max_retries=1)
    assert len(server.requests) == 4 + 1 + 2


def test_nothing_is_sent_again_once_something_has_come(connect, server, delays):
    """Another reply would differ from what was seen of this one."""
    server.will_say(thinking="one two", error=ServerNotReady("it went away"), error_after=1)
    with pytest.raises(ServerNotReady) as failed:
        connect().think("hi")
    assert (delays, failed.value.partial[0].thinking) == ([], "one")


@pytest.mark.parametrize("error", [EngineFailed("broken"), InvalidRequest("top_p", "7", "less")])
def test_what_would_fail_again_is_not_sent_again(connect, server, delays, error):
    server.will_say(error=error)
    with pytest.raises(type(error)):
        connect().think("hi")
    assert (delays, len(server.requests)) == ([], 1)


def test_no_attempt_is_begun_that_the_deadline_would_not_see(connect, server):
    server.says(error=Overloaded("full", 60.0))
    with pytest.raises(Overloaded):
        connect(deadline_s=30).think("hi")
    assert len(server.requests) == 1


def test_the_server_is_told_what_is_left_of_the_deadline(connect, server, delays):
    server.will_say(error=Overloaded("full"))
    connect(deadline_s=30).think("hi")
    first, second = (request.options["timeout_ms"] for request in server.requests)
    assert 0 < second <= first <= 30_000


def test_a_request_can_be_cancelled_between_two_attempts(connect, server):
    server.says(error=Overloaded("full", 60.0))
    stream = connect().stream("hi")
    stream.cancel()
    with pytest.raises(Cancelled):
        list(stream)


def test_delays_grow_and_spread_and_give_way_to_the_servers_word():
    assert [retry_delay_s(attempt, None, 0) for attempt in range(6)] == [0.5, 1, 2, 4, 8, 8]
    assert retry_delay_s(0, None, 1) == 0.375
    assert (retry_delay_s(0, 31.5, 0), retry_delay_s(9, 31.5, 1)) == (31.5, 31.5 * 1.25)
    assert retry_delay_s(0, 9999, 0) == 120
