# SPDX-License-Identifier: Apache-2.0
"""Which request is reached by a name. (With servers: behaviour.py.)"""

import time

from s1_client._exchange import Exchange, Running
from s1_client._settings import make_settings


def begun(name):
    settings = make_settings("a:1", tls=None, token=None, secret=None, metadata={}, trust_env=False, model="s1")
    exchange = Exchange("hi", {}, settings, name, time.monotonic())
    exchange.attempt(time.monotonic())
    return exchange


def test_a_name_reaches_the_latest_request_that_runs_and_then_those_of_others():
    running, first, second = Running(), begun("n"), begun("n")
    for exchange in (first, second):
        running.add(exchange)
    assert running.id_of("n") == second.wire_id
    running.remove(second)
    running.remove(second)  # without effect
    assert running.id_of("n") == first.wire_id
    running.remove(first)
    assert running.id_of("n") == "n"
