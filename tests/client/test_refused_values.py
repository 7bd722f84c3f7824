# SPDX-License-Identifier: Apache-2.0
"""Values that cannot be sent: each is refused before anything is sent, with the field, the value and the allowed values."""

import re

import pytest

from client.behaviour import CLIENTS, connecting
from s1_client import InvalidRequest, Request

IDS = "text that UTF-8 can hold, without NUL characters"


@pytest.fixture(params=list(CLIENTS), scope="module")
def client(request):
    """A client of a port where nobody listens."""
    with connecting(request.param, "127.0.0.1:1", max_retries=0) as make:
        yield make()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("thinking", True, "one of forced, free, off"),
        ("thinking", ["forced"], "one of forced, free, off"),
        ("reasoning_effort", 3, "one of minimal, low, medium, high, xhigh, max"),
        ("on_timeout", b"answer", "one of cancel, answer"),
        ("answer_prefix", 5, "text that UTF-8 can hold"),
        ("temperature", "0.5", "a number >= 0 (0 = greedy)"),
        ("temperature", float("nan"), "a number >= 0 (0 = greedy)"),
        ("temperature", 1e39, "a number that 32 bits can hold"),
        ("top_p", [0.5], "a number, 0 < top_p <= 1"),
        ("presence_penalty", True, "a number, -2 to 2"),
        ("num_samples", "3", "an integer from 1 to 64"),
        ("num_samples", 2.0, "an integer from 1 to 64"),
    ],
)
def test_the_allowed_values_of_the_field_are_named(client, name, value, allowed):
    with pytest.raises(InvalidRequest) as refused:
        client.think("hi", **{name: value})
    assert (refused.value.field, refused.value.value, refused.value.allowed) == (name, ascii(value), allowed)
    assert refused.value.num_attempts == 0


@pytest.mark.parametrize("request_id", ["a\0b", 5, None, b"x", "\ud800"])
def test_a_request_id_that_would_arrive_changed_is_refused(client, request_id):
    """Triton reads an id up to its first NUL character: the request would run under another name."""
    for call in (
        lambda: client.think("hi", request_id=request_id),
        lambda: client.cancel(request_id),
        lambda: client.answer_now(request_id),
    ):
        with pytest.raises(InvalidRequest, match=f"request id: got {re.escape(ascii(request_id))}, allowed: {IDS}"):
            call()


def test_a_command_needs_the_id_of_a_request(client):
    """The server gives a message without an id a random id, and would quote that."""
    for command in (client.cancel, client.answer_now):
        with pytest.raises(InvalidRequest, match="request id: got '', allowed: the id of a running request"):
            command("")


@pytest.mark.parametrize("deltas", ["no", None, 0])
def test_deltas_are_true_or_false(client, deltas):
    with pytest.raises(InvalidRequest, match=f"deltas: got {deltas!r}, allowed: True or False"):
        client.stream("hi", deltas=deltas)


def test_whole_replies_take_no_deltas(client):
    for call in (client.think, client.samples):
        with pytest.raises(TypeError, match="'deltas' is an argument of stream"):
            call("hi", deltas=False)
    (outcome,) = client.map([Request(prompt="hi", options={"deltas": False})])
    assert "'deltas' is an argument of stream" in str(outcome.error)


def test_think_is_for_one_sample_whoever_set_their_number(client):
    """Otherwise it would return the first of several samples, and drop the others."""
    with pytest.raises(TypeError, match=r"samples\(\)"):
        client.with_options(num_samples=3).think("hi")


def test_a_request_of_a_map_names_what_is_wrong_with_it(client):
    with pytest.raises(ValueError, match="options: got 5, allowed: a mapping"):
        Request(prompt="hi", options=5)
    (outcome,) = client.map([Request(prompt="hi", options={"request_id": "mine"})])
    assert "'request_id' is an argument of each call; a Request of map() has it as id" in str(outcome.error)
    with pytest.raises(ValueError, match="ordered: got 'no', allowed: True or False"):
        list(client.map(["hi"], ordered="no"))
