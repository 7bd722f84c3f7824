# SPDX-License-Identifier: Apache-2.0
"""Which requests are retried, and which never are. The delays are recorded instead of waited for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from client.behaviour import CLIENTS, connecting
from s1_client import Cancelled, Client, ConnectionFailed, EngineFailed, InvalidRequest, Overloaded, ServerNotReady, _exchange
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


BETWEEN = [Overloaded("full", 60.0), ConnectionFailed("gone")]


@pytest.fixture
def waiting(monkeypatch):
    """Set as soon as a request waits for its second attempt, which would come after a minute."""
    waits = threading.Event()

    def wait(*_):
        waits.set()
        return 60.0

    monkeypatch.setattr(_exchange, "retry_delay_s", wait)
    return waits


@pytest.mark.parametrize("error", BETWEEN)
@pytest.mark.parametrize("cancel", [lambda _, stream: stream.cancel(), lambda client, _: client.cancel("mine")], ids=["stream", "by id"])
def test_a_request_can_be_cancelled_between_two_attempts(connect, server, waiting, cancel, error):
    server.says(error=error)
    client = connect()
    stream = client.stream("hi", request_id="mine")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, stream)
        assert waiting.wait(60)
        cancel(client, stream)
        assert isinstance(reading.exception(), Cancelled)


def test_a_stream_can_be_closed_between_two_attempts(connect, server, waiting):
    server.says(error=Overloaded("full", 60.0))
    stream = connect().stream("hi")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, stream)
        assert waiting.wait(60)
        stream.close()
        assert reading.result() == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", BETWEEN)
@pytest.mark.parametrize(
    "hurry", [lambda _, stream: stream.answer_now(), lambda client, _: client.answer_now("mine")], ids=["stream", "by id"]
)
@pytest.mark.usefixtures("delays")
def test_answer_now_between_two_attempts_is_for_the_next(connect, server, hurry, error):
    client = connect()
    server.will_say(error=error)
    server.will_say(thinking="one two three " * 300, answer=" four", token_delay_s=0.01)
    stream = client.stream("hi", request_id="mine", max_tokens=9)
    hurry(client, stream)
    reply = stream.reply()
    assert (reply.thinking_end, len(server.requests)) == ("answer_now", 2)


def test_a_cancel_while_the_next_attempt_is_sent_is_not_lost(server, delays, monkeypatch):
    """It ends the call of the attempt before, which is over, and the reader has already looked whether to go on."""
    server.will_say(error=Overloaded("full"))
    server.will_say(thinking="one two three " * 300, token_delay_s=0.01)
    with Client(server.url) as client:
        stream = client.stream("hi")
        note_sent = _exchange.Exchange.note_sent

        def cancel_at_the_second(exchange, now):
            note_sent(exchange, now)
            stream.cancel()

        monkeypatch.setattr(_exchange.Exchange, "note_sent", cancel_at_the_second)
        with pytest.raises(Cancelled):
            list(stream)
    assert delays == [(0, None)]


def test_delays_grow_and_spread_and_give_way_to_the_servers_word():
    assert [retry_delay_s(attempt, None, 0) for attempt in range(6)] == [0.5, 1, 2, 4, 8, 8]
    assert retry_delay_s(0, None, 1) == 0.375
    assert (retry_delay_s(0, 31.5, 0), retry_delay_s(9, 31.5, 1)) == (31.5, 31.5 * 1.25)
    assert retry_delay_s(0, 9999, 0) == 120
