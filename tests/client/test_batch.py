# SPDX-License-Identifier: Apache-2.0
"""Which of many requests run, and the order of their outcomes. (With servers: behaviour.py.)"""

import itertools
import threading

import pytest

from s1_client import Outcome, Request
from s1_client._batch import _AHEAD, Window, map_requests


def window(requests, *, concurrency, ordered=True):
    return Window(requests, concurrency=concurrency, ordered=ordered)


def ended(index):
    return Outcome(index=index, request=Request(prompt="hi"))


def test_no_more_run_than_there_is_room_for_and_no_more_are_read():
    endless = (str(number) for number in itertools.count())
    requests = window(endless, concurrency=3)
    assert [index for index, _ in requests.start()] == [0, 1, 2]
    assert list(requests.start()) == []
    requests.end(ended(1))
    assert [(index, request.prompt) for index, request in requests.start()] == [(3, "3")]
    assert next(endless) == "4"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_outcomes_are_handed_on_in_order_or_as_they_come(order):
    for ordered in (True, False):
        requests = window("abcd", concurrency=4, ordered=ordered)
        list(requests.start())
        handed = [outcome.index for index in order for outcome in requests.end(ended(index))]
        assert handed == (list(range(4)) if ordered else list(order))
        assert requests.num_running == 0


def test_outcomes_that_wait_for_their_turn_are_bounded():
    """The first request is slow: the others go on, but not for ever."""
    requests = window(map(str, itertools.count()), concurrency=2)
    running = [index for index, _ in requests.start()]
    num_ended = 0
    while running[1:]:
        assert requests.end(ended(running.pop())) == []
        num_ended += 1
        running += [index for index, _ in requests.start()]
    assert num_ended == _AHEAD * 2
    assert len(requests.end(ended(0))) == num_ended + 1


@pytest.mark.parametrize("concurrency", [0, -1, True, 2.0, "2", None])
def test_one_at_least_runs(concurrency):
    with pytest.raises(ValueError, match=f"concurrency: got {concurrency!r}, allowed: "):
        window([], concurrency=concurrency)


def test_an_unexpected_error_of_a_worker_reaches_whoever_waits_for_outcomes():
    """In a thread of its own, for a fault would let it wait for ever."""

    def ask(prompt, _options, _id):
        raise ZeroDivisionError(prompt)

    def iterate():
        with pytest.raises(ZeroDivisionError, match="hi"):
            list(map_requests(ask, ["hi"], concurrency=1, ordered=True, progress=None))
        raised.set()

    raised = threading.Event()
    threading.Thread(target=iterate, daemon=True).start()
    assert raised.wait(60)
