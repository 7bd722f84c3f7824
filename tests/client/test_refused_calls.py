# SPDX-License-Identifier: Apache-2.0
"""A server that ends calls before it reads them, as Triton does where a secret is missing."""

import asyncio
from concurrent import futures

import grpc
import pytest

from s1_client import AsyncClient, Cancelled, ConnectionFailed
from s1_client._aio_stream import AsyncStream
from s1_client.testing import FakeServer


class _Refusing(grpc.ServerInterceptor):
    def intercept_service(self, _continuation, _details):
        return grpc.stream_stream_rpc_method_handler(lambda _requests, context: context.abort(grpc.StatusCode.UNAVAILABLE, "restricted"))


def test_what_it_said_reaches_everybody():
    """Of a thousand calls about ten met the end before their message was sent, and reported INTERNAL."""
    server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[_Refusing()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    async def said():
        async with AsyncClient(f"127.0.0.1:{port}", max_retries=0) as client:
            rounds = [await asyncio.gather(*(client.think("x" * 100_000) for _ in range(64)), return_exceptions=True) for _ in range(16)]
        return {(type(error), str(error)) for errors in rounds for error in errors}

    try:
        assert asyncio.run(said()) == {(ConnectionFailed, "UNAVAILABLE: restricted")}
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("command", ["answer_now", "cancel"])
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_call_that_was_made_again_obeys_commands(monkeypatch, command, has_begun):
    """It carries the request alone. The server may have recovered between the two calls."""
    monkeypatch.setattr(AsyncStream, "_has_lost_reason", lambda stream, _: stream._call.is_open)

    async def ended(url):
        async with AsyncClient(url) as client:
            stream = client.stream("hi", max_tokens=9)
            if has_begun:
                await anext(stream)
            await getattr(stream, command)()
            return (await stream.reply()).thinking_end

    with FakeServer() as server:
        server.will_say(error=ConnectionFailed("gone"))
        server.will_say(thinking="one two three " * 300, token_delay_s=0.01)
        if command == "answer_now":
            assert asyncio.run(ended(server.url)) == "answer_now"
        else:
            with pytest.raises(Cancelled):
                asyncio.run(ended(server.url))
