# SPDX-License-Identifier: Apache-2.0
"""Commands find the replica of their request: on its own stream, or by headers that a balancer reads."""

import asyncio

import grpc
import pytest

from s1_client import AsyncClient, Cancelled, Client, Done, InvalidRequest
from s1_client._wire import routing_headers
from s1_client.testing import FakeServer
from server.waiting import wait_until

STORY = " ".join(["word"] * 400)
INFER = "/inference.GRPCInferenceService/ModelStreamInfer"


class Calls(grpc.ServerInterceptor):
    """The headers of each stream that clients open."""

    def __init__(self):
        self.headers = []

    def intercept_service(self, continuation, details):
        if details.method == INFER:
            self.headers.append({name: value for name, value in details.invocation_metadata if name.startswith("s1-")})
        return continuation(details)


@pytest.fixture
def calls():
    return Calls()


@pytest.fixture
def server(calls):
    with FakeServer(interceptors=[calls]) as server:
        server.says(thinking=STORY, token_delay_s=0.01)
        yield server


@pytest.mark.parametrize(("name", "header"), [
    ("job-17", "job-17"),
    ("50% of é\n", "50%25%20of%20%C3%A9%0A"),
    ("~", "~"),
    ("n" * 1000, "n" * 128),
])  # fmt: skip
def test_the_header_of_a_request_is_its_name(name, header):
    """Without the random part of an attempt; in characters that a header can hold."""
    wire_id = f"{name}~{'0123456789abcdef' * 2}"
    assert routing_headers(wire_id) == (("s1-request-id", header),)
    assert routing_headers(wire_id, "cancel") == (("s1-request-id", header), ("s1-command", "cancel"))


def test_a_command_of_another_connection_bears_the_name_of_its_request(server, calls):
    with Client(server.url) as client, Client(server.url) as other:
        stream = client.stream("hi", request_id="mine")
        next(stream)
        other.answer_now("mine")
        assert stream.reply().result.thinking_end == "answer_now"
    assert calls.headers == [{"s1-request-id": "mine"}, {"s1-request-id": "mine", "s1-command": "answer_now"}]


def test_each_attempt_bears_the_name_and_none_is_a_command(server, calls):
    """So that a balancer may send another attempt to another replica."""
    for _ in range(2):
        with Client(server.url) as client:
            client.stream("hi", request_id="again").close()
    assert [headers for headers in calls.headers if "s1-command" not in headers] == [{"s1-request-id": "again"}] * 2


def test_a_stream_sends_its_commands_itself(server, calls):
    """On the call that it has: no balancer has to find anything."""
    with Client(server.url) as client:
        answered, cancelled = client.stream("hi"), client.stream("hi")
        next(answered)
        next(cancelled)
        answered.answer_now()
        cancelled.cancel()
        assert next(event for event in answered if isinstance(event, Done)).result.thinking_end == "answer_now"
        with pytest.raises(Cancelled):
            list(cancelled)
    assert len(calls.headers) == 2
    assert sorted(request.commands for request in server.requests) == [["answer_now"], ["cancel"]]


def test_a_stream_of_asyncio_sends_its_commands_itself(server, calls):
    async def main():
        async with AsyncClient(server.url) as client:
            answered, cancelled = client.stream("hi"), client.stream("hi")
            await anext(answered)
            await anext(cancelled)
            await answered.answer_now()
            await cancelled.cancel()
            assert (await answered.reply()).result.thinking_end == "answer_now"
            with pytest.raises(Cancelled):
                await cancelled.reply()

    asyncio.run(main())
    assert len(calls.headers) == 2
    assert sorted(request.commands for request in server.requests) == [["answer_now"], ["cancel"]]


def test_a_reply_that_comes_as_a_whole_can_be_cut_short_while_nothing_has_come(server, calls):
    """A balancer that stores the replica with the first message would not know it yet."""
    with Client(server.url) as client:
        stream = client.stream("hi", deltas=False)
        wait_until(lambda: server.requests, seconds=5)
        wait_until(lambda: stream.answer_now() or server.requests[0].commands, seconds=5)  # from when it runs on
        assert stream.reply().result.thinking_end == "answer_now"
    assert len(calls.headers) == 1


def test_a_command_to_a_reply_that_has_ended_is_refused(server):
    server.says(thinking=" one")
    with Client(server.url) as client:
        stream = client.stream("hi", request_id="over")
        stream.reply()
        with pytest.raises(InvalidRequest, match='request id: got "over", allowed: the id of a running request'):
            stream.answer_now()


@pytest.mark.parametrize("name", ["s1-request-id", "s1-command"])
def test_the_headers_are_the_clients_own(name):
    with pytest.raises(ValueError, match=f"^metadata: '{name}' is set by the client, for each request"):
        Client(metadata={name: "x"})
