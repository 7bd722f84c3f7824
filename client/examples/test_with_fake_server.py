# SPDX-License-Identifier: Apache-2.0
"""Test a program that uses s1_client, without a model or a Triton."""

import pytest

from s1_client import Client, ConnectionFailed, Overloaded
from s1_client.testing import FakeServer


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


def test_the_answer_is_forced(server):
    server.will_say(thinking="three r, I think", answer=" 3")
    with Client(server.url) as client:
        reply = client.think("How many r in raspberry", num_ignore=1)
    assert (reply.thinking, reply.answer) == ("three r, I thinkWaitthree r, I think", " 3")
    assert server.requests[-1].options["num_ignore"] == 1


def test_an_overloaded_server_is_retried(server):
    server.will_say(error=Overloaded("full", retry_after_s=0.1))  # to the next request
    server.will_say(answer="now")  # to the one after it
    with Client(server.url, max_retries=1) as client:
        assert client.think("hi").answer == "now"
    assert len(server.requests) == 2


def test_an_error_holds_what_had_arrived(server):
    server.says(to="long", thinking="one two three", error=ConnectionFailed("gone"), error_after=2)  # to every such prompt
    with Client(server.url) as client, pytest.raises(ConnectionFailed) as failed:
        client.think("a long story")
    assert failed.value.partial[0].thinking == "one two"
