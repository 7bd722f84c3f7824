# SPDX-License-Identifier: Apache-2.0
"""A server with room for two replies and one that waits."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from training_record import DATASET_SHA256

from s1_client import Client, InvalidRequest, Overloaded, S1Error, ThinkingDelta
from server.waiting import gauge, wait_until

END, EOS = 2, 0


@pytest.fixture
def small(triton):
    with Client(triton.grpc_url, model="s1_small", max_retries=0) as client:
        yield client


@pytest.fixture
def begun(small, scripts, tokenizer):
    """Two replies that run until their streams are closed: by themselves, for five minutes."""
    (a,) = tokenizer.encode("a")
    slow = [scripts.write([a] * 3000, [a, EOS], delay_ms=100) for _ in range(2)]
    streams = [small.stream(script.question, max_thinking_tokens=3000) for script in slow]
    for stream in streams:
        while not isinstance(next(stream), ThinkingDelta):
            pass
    yield streams
    for stream in streams:
        stream.close()


@pytest.fixture
def quick(scripts, tokenizer):
    """Ask something short; the reply."""
    (a,) = tokenizer.encode("a")

    def ask(client):
        return client.think(scripts.write([END], [a, EOS]).question, num_ignore=0, max_tokens=5)

    return ask


@pytest.fixture
def until(triton):
    """Wait until so many replies run and so many requests wait."""

    def wait(num_running, num_waiting):
        wanted = {"s1_replies_running": num_running, "s1_requests_waiting": num_waiting}
        wait_until(lambda: {name: gauge(triton, f'{name}{{model_instance="s1_small_0_0"}}') for name in wanted} == wanted, seconds=30)

    return wait


def test_a_reply_tells_how_its_model_was_trained(small, quick, triton):
    """The record is read where the model starts; s1 over the same engine without one says so."""
    training = quick(small).result.training
    assert (training.name, training.base_model, training.dataset, training.dataset_sha256) == ("tiny", None, "puzzles", DATASET_SHA256)
    with Client(triton.grpc_url, model="s1_scripted") as other:
        assert quick(other).result.training is None


def test_one_more_waits_and_yet_another_is_turned_away_at_once(begun, small, quick, until):
    """The one that waits is answered when a reply ends, be it by its client's going."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(quick, small)
        until(2, 1)
        with pytest.raises(Overloaded, match="2 of 2 replies run and 1 of 1 requests wait") as turned_away:
            quick(small)
        assert turned_away.value.retry_after_s > 0
        begun[0].close()
        assert waiting.result(timeout=30).answer == "Final Answer:a"


def test_clients_that_go_while_they_wait_leave_no_trace(begun, small, quick, until, triton):
    """The waiting room is free again, and so is the room when the replies are over."""
    with ThreadPoolExecutor(1) as pool, Client(triton.grpc_url, model="s1_small") as leaving:
        waiting = pool.submit(quick, leaving)
        until(2, 1)
        leaving.close()
        with pytest.raises(S1Error):
            waiting.result(timeout=30)
        until(2, 0)
        for stream in begun:
            stream.close()
        until(0, 0)
        assert quick(small).answer == "Final Answer:a"


def test_a_request_of_as_many_samples_as_there_are_places_uses_them_all(small, scripts, tokenizer, until):
    """Of so few places none is kept free for other requests."""
    (a,) = tokenizer.encode("a")
    slow = scripts.write([a] * 3000, [a, EOS], delay_ms=100)
    with small.stream(slow.question, num_samples=2, temperature=1.0, max_thinking_tokens=3000) as stream:
        while not isinstance(next(stream), ThinkingDelta):
            pass
        until(2, 0)


def test_more_samples_than_there_will_ever_be_room_for_are_refused(small):
    with pytest.raises(InvalidRequest, match="num_samples: got 3, allowed: 1 to 2"):
        small.samples("hi", num_samples=3, temperature=1.0)
