# SPDX-License-Identifier: Apache-2.0
"""A command finds the running request of exactly its id, else the only one of that name."""

import asyncio
from contextlib import ExitStack

import pytest

from budgetforce.errors import InvalidRequest
from budgetforce.serving.incoming import IncomingRequest, RunningRequests, name_of

RANDOM = "~" + "a" * 32
OTHER = "~" + "b" * 32


def find(*running, request_id):
    """The id of the request that a cancel with ``request_id`` reaches while requests with the ids ``running`` run."""

    async def look():
        requests = RunningRequests()
        with ExitStack() as listed:
            for one in running:
                listed.enter_context(requests.listed(IncomingRequest(request_id=one, inputs={}, writer=None, arrived=0.0)))
            return requests.find(request_id, "cancel").request_id

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("running", "request_id", "found"),
    [
        (["mine", "mine" + RANDOM], "mine", "mine"),
        (["mine" + RANDOM, "mine"], "mine", "mine"),
        (["mine", "mine" + RANDOM], "mine" + RANDOM, "mine" + RANDOM),
        (["mine", "mine" + RANDOM, "mine" + OTHER], "mine", "mine"),
        (["mine" + RANDOM], "mine", "mine" + RANDOM),
    ],
)
def test_a_command_reaches_the_request_of_exactly_its_id_before_one_of_that_name(running, request_id, found):
    assert find(*running, request_id=request_id) == found


@pytest.mark.parametrize(
    ("running", "request_id", "message"),
    [
        (["mine" + RANDOM, "mine" + OTHER], "mine", 'got "mine", allowed: an id of one running request: 2 running requests have'),
        (["mine" + RANDOM], "mine" + OTHER, 'got "mine", allowed: the id of a running request'),
        (["mine"], "mine" + RANDOM, 'got "mine", allowed: the id of a running request'),
    ],
)
def test_a_command_that_fits_none_or_several_is_refused(running, request_id, message):
    with pytest.raises(InvalidRequest, match=message):
        find(*running, request_id=request_id)


def test_an_id_without_a_name_in_front_is_a_name():
    assert (name_of(RANDOM), name_of("a" + RANDOM), name_of("a")) == (RANDOM, "a", "a")
