# SPDX-License-Identifier: Apache-2.0
"""A request is sent in the trace of the program that sends it, if the program has one."""

import asyncio
import subprocess
import sys

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider

from s1_client import AsyncClient, Client, Overloaded
from s1_client._tracing import parent, trace_headers
from s1_client.testing import FakeServer

PARENT = f"00-{'c' * 32}-{'d' * 16}-01"
tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")


class Watched(grpc.ServerInterceptor):
    """Notes the trace of every call."""

    def __init__(self):
        self.seen = []

    def intercept_service(self, continuation, details):
        self.seen.append(dict(details.invocation_metadata).get("traceparent"))
        return continuation(details)


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def server(watched):
    with FakeServer(interceptors=[watched]) as server:
        yield server


def traceparent(span):
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_a_request_belongs_to_the_current_span(server, watched):
    with Client(server.url) as client:
        with tracer.start_as_current_span("mine") as span:
            client.think("hi")
        client.think("hi")
    assert watched.seen == [traceparent(span), None]


def test_so_do_the_requests_of_map_on_their_threads(server, watched):
    with Client(server.url) as client, tracer.start_as_current_span("mine") as span:
        list(client.map(["a", "b", "c"], concurrency=2))
    assert watched.seen == [traceparent(span)] * 3


def test_and_those_of_an_async_client(server, watched):
    async def ask():
        async with AsyncClient(server.url) as client:
            with tracer.start_as_current_span("mine") as span:
                await client.think("hi")
            await client.think("hi")
        return span

    span = asyncio.run(ask())
    assert watched.seen == [traceparent(span), None]


def test_a_command_to_another_programs_request_belongs_to_the_span_that_sends_it(server, watched):
    """A command to a request of the client's own goes on its stream, which has its headers already."""
    server.will_say(token_delay_s=0.02)
    with Client(server.url) as client, Client(server.url) as other, client.stream("hi", request_id="mine") as stream:
        next(stream)  # before that the command might have to be sent a second time
        with tracer.start_as_current_span("impatient") as span:
            stream.answer_now()
            other.answer_now("mine")
        list(stream)
    assert watched.seen == [None, traceparent(span)]


def test_a_header_that_the_caller_gives_wins(server, watched):
    with Client(server.url, metadata={"traceparent": PARENT}) as client, tracer.start_as_current_span("mine"):
        client.think("hi")
    assert watched.seen == [PARENT]


def test_a_retry_belongs_to_the_same_span(server, watched):
    """Also when the reply is read elsewhere."""
    server.will_say(error=Overloaded("full", retry_after_s=0.001))
    with Client(server.url) as client:
        with tracer.start_as_current_span("mine") as span:
            stream = client.stream("hi")
        stream.reply()
    assert watched.seen == [traceparent(span)] * 2


@pytest.mark.parametrize(("value", "expected"), [(PARENT, (("traceparent", PARENT),)), ("", ()), ("00-x", ()), (f"{PARENT}\r\na: b", ())])
def test_the_trace_of_a_request_that_is_passed_on(value, expected):
    token = parent.set(value)
    try:
        assert trace_headers() == expected
        with tracer.start_as_current_span("nearer") as span:
            assert trace_headers() == (("traceparent", traceparent(span)),)
    finally:
        parent.reset(token)


def test_the_library_alone_imports_nothing_of_opentelemetry():
    """And a program without it sends no header."""
    program = (
        "import sys; from s1_client import Client; from s1_client.testing import FakeServer; from s1_client._tracing import trace_headers\n"
        "with FakeServer() as server, Client(server.url) as client: client.think('hi')\n"
        "print(trace_headers(), [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "() []\n"
