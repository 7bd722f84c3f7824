# SPDX-License-Identifier: Apache-2.0
"""Which request is reached by a name. (With servers: behaviour.py.)"""

import time

from s1_client._exchange import Exchange, Running
from s1_client._settings import make_settings


class Stream:
    """In place of a reply's stream."""


def begun(name):
    settings = make_settings("a:1", tls=None, token=None, secret=None, metadata={}, trust_env=False, model="s1")
    exchange = Exchange("hi", {}, settings, name, time.monotonic())
    exchange.attempt(time.monotonic())
    return exchange


def test_a_name_reaches_the_latest_request_that_runs_and_then_those_of_others():
    running, first, second = Running(), begun("n"), begun("n")
    streams = {exchange: Stream() for exchange in (first, second)}
    for exchange in (first, second):
        running.add(exchange, streams[exchange])
    assert running.stream_of("n") is streams[second]
    running.remove(second)
    running.remove(second)  # without effect
    assert running.stream_of("n") is streams[first]
    running.remove(first)
    assert running.stream_of("n") is None
