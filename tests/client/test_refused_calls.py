# SPDX-License-Identifier: Apache-2.0
"""A server that ends calls before it reads them, as Triton does where a secret is missing."""

import asyncio
from concurrent import futures

import grpc

from s1_client import AsyncClient, ConnectionFailed


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
