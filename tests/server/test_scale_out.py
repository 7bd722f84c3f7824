# SPDX-License-Identifier: Apache-2.0
"""Two real servers behind a real HAProxy in the configuration of `s1 haproxy`: balance, commands, a drain and a kill under load."""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from s1_client import Cancelled, Client, ConnectionFailed, ThinkingDelta
from server.replicas import Balancer, Replica, started
from server.waiting import gauge, wait_until

END, EOS = 2, 0
RUNNING, OPEN = 's1_replies_running{model_instance="s1_0_0"}', 's1_requests_open{model_instance="s1_0_0"}'


@pytest.fixture(scope="module")
def replicas(root, scripts_folder, tmp_path_factory):
    pair = [Replica(root, scripts_folder, tmp_path_factory.mktemp("replica")) for _ in range(2)]
    with started(pair):
        yield pair


@pytest.fixture(scope="module")
def balancer(replicas, tmp_path_factory):
    with Balancer(replicas, tmp_path_factory.mktemp("balancer")).running() as balancer:
        yield balancer


@pytest.fixture
def client(balancer):
    with Client(balancer.url, max_retries=0) as client:
        yield client


@pytest.fixture
def slow(scripts, tokenizer):
    """A question whose thought takes half a minute."""
    (a,) = tokenizer.encode("a")
    return scripts.write([a] * 600, [a, EOS], delay_ms=50).question


@pytest.fixture
def quick(scripts, tokenizer):
    (a,) = tokenizer.encode("a")
    return scripts.write([a, END], [a, EOS]).question


@contextlib.contextmanager
def begun(client, question, number, name="request"):
    """So many streams that think."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(client.stream(question, request_id=f"{name}-{n}", max_thinking_tokens=600)) for n in range(number)]
        for stream in streams:
            next(event for event in stream if isinstance(event, ThinkingDelta))
        yield streams


def end_of(stream):
    """How a stream ends: the cause of its thinking's end, or the name of the error."""
    try:
        return stream.reply().result.thinking_end
    except Cancelled:
        return "Cancelled"


def running(replicas, line=RUNNING):
    return [gauge(replica.server, line) for replica in replicas]


def test_sixteen_streams_of_a_connection_are_shared_by_the_replicas(client, replicas, slow):
    with begun(client, slow, 16):
        wait_until(lambda: sum(running(replicas)) == 16, seconds=30)
        assert running(replicas) == [8, 8]
    wait_until(lambda: running(replicas, OPEN) == [0, 0], seconds=30)


def test_commands_of_another_connection_reach_the_replica_of_their_request(balancer, client, slow):
    """By the header with the request's id, 12 of 12."""
    with begun(client, slow, 12, "by-header") as streams, Client(balancer.url, max_retries=0) as other:
        for number, stream in enumerate(streams):
            (other.cancel if number % 2 else other.answer_now)(stream.request_id)
        assert Counter(map(end_of, streams)) == {"answer_now": 6, "Cancelled": 6}


def test_commands_on_the_stream_of_their_request_reach_it(client, replicas, slow):
    """12 of 12; and 4 of 4 of replies that come as a whole, whose replica HAProxy does not know before their end."""
    with begun(client, slow, 12, "own") as streams:
        for number, stream in enumerate(streams):
            (stream.cancel if number % 2 else stream.answer_now)()
        assert Counter(map(end_of, streams)) == {"answer_now": 6, "Cancelled": 6}
    with contextlib.ExitStack() as stack:
        whole = [stack.enter_context(client.stream(slow, deltas=False, max_thinking_tokens=600)) for _ in range(4)]
        wait_until(lambda: sum(running(replicas)) == 4, seconds=30)
        for stream in whole:
            stream.answer_now()
        assert Counter(map(end_of, whole)) == {"answer_now": 4}
    wait_until(lambda: running(replicas, OPEN) == [0, 0], seconds=30)


def test_an_id_that_is_used_again_does_not_bind_a_request_to_a_replica(client, replicas, slow):
    """Only commands follow an id: a request that is repeated goes to the replica with the least load."""
    for _ in range(2):
        with begun(client, slow, 2, "again"):
            wait_until(lambda: running(replicas) == [1, 1], seconds=30)
        wait_until(lambda: running(replicas, OPEN) == [0, 0], seconds=30)
    with begun(client, slow, 1, "first"), begun(client, slow, 1, "again") as (stream,):
        wait_until(lambda: running(replicas) == [1, 1], seconds=30)
        client.answer_now(stream.request_id)
        assert end_of(stream) == "answer_now"


def test_a_drain_in_the_middle_of_a_load_loses_nothing_and_the_replica_comes_back(balancer, client, replicas, slow, quick):
    """Its running requests obey commands to the end; 0 of 30 new ones are lost. Then it starts again, and gets its share."""
    leaving, _ = replicas
    with begun(client, slow, 8, "drained") as streams, ThreadPoolExecutor(8) as pool, Client(balancer.url, max_retries=0) as other:
        stopping = pool.submit(leaving.stop)
        lost = [outcome.error for outcome in client.map([quick] * 30, concurrency=3, max_tokens=5, num_ignore=0) if outcome.error]
        assert lost == []
        wait_until(lambda: balancer.state_of_each()["r1"] == "NOLB", seconds=30)
        num_streams = balancer.num_streams("r1")
        lost = [outcome.error for outcome in client.map([quick] * 30, concurrency=3, max_tokens=5, num_ignore=0) if outcome.error]
        assert lost == []
        assert balancer.num_streams("r1") == num_streams
        for number, stream in enumerate(streams):
            (other.cancel if number % 2 else other.answer_now)(stream.request_id)
        assert Counter(map(end_of, streams)) == {"answer_now": 4, "Cancelled": 4}
        stopping.result(timeout=30)
    leaving.start()
    wait_until(lambda: balancer.states() == {"UP"}, seconds=15)
    with begun(client, slow, 4, "back"):
        wait_until(lambda: running(replicas) == [2, 2], seconds=30)


def test_a_replica_that_is_killed_takes_only_its_own_replies_with_it(balancer, client, replicas, slow, quick):
    """Each is reported as retryable, with the part that had come. What comes meanwhile is served by the other."""
    victim, _ = replicas
    with begun(client, slow, 12, "killed") as streams, Client(balancer.url, max_retries=2) as new:
        wait_until(lambda: gauge(victim.server, RUNNING) == 6, seconds=30)  # the gauge is published a few times a second
        victim.kill()
        outcomes = list(new.map([quick] * 30, concurrency=6, max_tokens=5, num_ignore=0))
        assert [outcome.error for outcome in outcomes if outcome.error] == []
        for stream in streams:
            with contextlib.suppress(ConnectionFailed):
                stream.answer_now()
        failed = []
        for stream in streams:
            try:
                assert stream.reply().result.thinking_end == "answer_now"
            except ConnectionFailed as error:
                failed.append(error)
        assert len(failed) == 6
        assert all(error.retryable and error.partial[0].thinking for error in failed)
    wait_until(lambda: balancer.state_of_each()["r1"] == "DOWN", seconds=30)
    victim.start()
    wait_until(lambda: balancer.states() == {"UP"}, seconds=15)
