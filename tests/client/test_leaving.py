# SPDX-License-Identifier: Apache-2.0
"""How a stream is left: with a command to an old Triton, which may not survive a cancel, and by cancelling with a new one."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from client.behaviour import CLIENTS, STORY, first_thought
from s1_client import AsyncClient, Cancelled, Client, InvalidRequest
from s1_client.testing import FakeServer
from server.waiting import wait_until

VERSIONS = {"2.51.0": ["cancel"], "2.57.0": [], "unknown": []}


@pytest.fixture(params=list(VERSIONS))
def server(request):
    with FakeServer(triton_version=request.param) as server:
        server.says(thinking=STORY, token_delay_s=0.005)
        server.expected_commands = VERSIONS[request.param]
        yield server


def check_that_it_was_left(server):
    wait_until(lambda: server.requests[0].end == "Cancelled", seconds=5)
    assert server.requests[0].commands == server.expected_commands


@pytest.mark.parametrize("way", ["close", "with", "drop"])
@pytest.mark.parametrize("kind", CLIENTS.values(), ids=list(CLIENTS))
def test_a_stream_is_left_as_its_server_bears_it(server, kind, way):
    with kind(server.url) as client:
        stream = client.stream("hi")
        first_thought(stream)
        if way == "with":
            with stream:
                pass
        elif way == "close":
            stream.close()
        del stream
        gc.collect()
        check_that_it_was_left(server)


@pytest.mark.parametrize("kind", CLIENTS.values(), ids=list(CLIENTS))
def test_whoever_reads_from_a_client_that_is_closed_is_told_that_it_was_cancelled(server, kind):
    with kind(server.url) as client:
        stream = client.stream("hi")
        first_thought(stream)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(list, stream)
            client.close()
            assert isinstance(reading.exception(), Cancelled)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"max_thinking": 5}, TypeError), ({"max_thinking_tokens": True}, InvalidRequest), ({"timeout_ms": 2**31}, InvalidRequest)],
)
def test_a_call_that_is_refused_leaves_nothing_behind(options, kind):
    """No task with an exception that nobody retrieves, and no message to the server about a request that was never sent."""
    methods, problems = [], []

    class Watched(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            methods.append(details.method)
            return continuation(details)

    async def main(url):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with AsyncClient(url) as client:
            with pytest.raises(kind):
                await client.think("hi", **options)
            gc.collect()
            await asyncio.sleep(0)
        gc.collect()

    with FakeServer(interceptors=[Watched()]) as server:
        asyncio.run(main(server.url))
        with Client(server.url) as client, pytest.raises(kind):
            client.think("hi", **options)
        gc.collect()
    assert (methods, problems) == ([], [])


def test_a_task_that_is_cancelled_leaves_its_stream(server):
    async def main():
        async with AsyncClient(server.url) as client:
            thinking = asyncio.create_task(client.think("hi"))
            while not server.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            thinking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await thinking

    asyncio.run(main())
    check_that_it_was_left(server)


@pytest.mark.parametrize("kind", CLIENTS.values(), ids=list(CLIENTS))
def test_what_a_request_is_told_before_it_runs_is_told_again(server, kind):
    server.says(thinking=STORY, token_delay_s=0.005, start_delay_s=0.5)
    with kind(server.url) as client:
        stream = client.stream("hi")
        stream.answer_now()
        assert stream.reply().thinking_end == "answer_now"
    assert server.requests[0].commands == ["answer_now"]


@pytest.mark.parametrize("kind", CLIENTS.values(), ids=list(CLIENTS))
def test_a_message_may_be_large(server, kind):
    server.says(answer="x" * 6_000_000)
    with kind(server.url) as client:
        assert len(client.think("y" * 1_000_000, num_ignore=0, max_thinking_tokens=1, answer_prefix_policy="never").answer) == 6_000_000


def test_answer_now_that_crosses_the_requests_beginning_is_sent_again():
    with FakeServer() as server, Client(server.url) as client:
        server.says(thinking=STORY, token_delay_s=0.005)
        stream = client.stream("hi")
        send, sent = stream._send_command, []

        def cross(command):
            sent.append(command)
            if len(sent) == 1:
                next(stream)  # the server refuses the command, then the request begins; the refusal comes behind its first event
                raise InvalidRequest("request id", "x", "the id of a running request")
            send(command)

        stream._send_command = cross
        stream.answer_now()
        assert stream.reply().thinking_end == "answer_now"
        assert sent == ["answer_now"] * 2


def test_answer_now_that_crosses_the_requests_beginning_is_sent_again_with_asyncio():
    async def scenario(server):
        async with AsyncClient(server.url) as client:
            stream = client.stream("hi")
            send, sent = stream._send_command, []

            async def cross(command):
                sent.append(command)
                if len(sent) == 1:
                    await anext(stream)
                    raise InvalidRequest("request id", "x", "the id of a running request")
                await send(command)

            stream._send_command = cross
            await stream.answer_now()
            assert (await stream.reply()).thinking_end == "answer_now"
            assert sent == ["answer_now"] * 2

    with FakeServer() as server:
        server.says(thinking=STORY, token_delay_s=0.005)
        asyncio.run(scenario(server))
