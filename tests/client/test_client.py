# SPDX-License-Identifier: Apache-2.0
"""The client without a server. (With one: tests/server.)"""

import pytest

from s1_client import Client, ConnectionFailed, InvalidRequest, Request


def test_a_closed_client_says_so():
    """Neither gRPC's words nor its error are shown."""
    with Client("127.0.0.1:1") as client:
        pass
    with pytest.raises(ConnectionFailed, match="has been closed"):
        client.think("hi")


def test_think_is_for_one_sample():
    with Client("127.0.0.1:1") as client, pytest.raises(TypeError, match=r"samples\(\)"):
        client.think("hi", num_samples=2)


@pytest.mark.parametrize("limit", [{"deadline_s": 0}, {"deadline_s": "5"}, {"max_retries": True}, {"max_retries": -1}])
def test_a_limit_of_a_call_that_cannot_be_is_refused_by_name(limit):
    """Also in a map, whose other requests go on."""
    (name,) = limit
    with Client("127.0.0.1:1", max_retries=0) as client:
        with pytest.raises(InvalidRequest, match=f"{name}: got .*, allowed: "):
            client.think("hi", **limit)
        with pytest.raises(ValueError, match=f"{name}: got .*, allowed: "):
            client.with_options(**limit)
        refused, other = client.map([Request(prompt="hi", options=limit), "hi"])
    assert (type(refused.error), type(other.error)) == (InvalidRequest, ConnectionFailed)


def test_an_option_that_is_the_clients_is_no_unknown_one():
    with Client("127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="'keepalive_s' belongs to the connection: make another client"):
            client.think("hi", keepalive_s=3)
        with pytest.raises(TypeError, match=r"'model' is no option of a call: use client.with_options\(model=...\)"):
            client.think("hi", model="s2")
        with pytest.raises(TypeError, match="unknown option 'deadline'; did you mean 'deadline_s'"):
            client.think("hi", deadline=3)
