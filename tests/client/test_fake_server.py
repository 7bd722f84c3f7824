# SPDX-License-Identifier: Apache-2.0
"""The clients and the fake server that users test with. (The same against the real one: tests/server/test_client.py.)"""

import itertools

import grpc
import pytest

from client.behaviour import *  # noqa: F403  # the tests
from client.blocking import BlockingClient
from client.network import *  # noqa: F403  # those with a bad network
from s1_client import AccessDenied, Client, EngineFailed
from s1_client.testing import FakeServer


class Served:
    """The fake server as the suite's fixture."""

    def __init__(self, server):
        self._server = server
        self._numbers = itertools.count()
        self.url, self.model = server.url, "s1"

    def says(self, *, thinking=" one two three", answer=" four", num_ends=1, delay_ms=0, error_after=None):
        script = {"thinking": thinking or "", "answer": answer, "token_delay_s": delay_ms / 1e3}
        if error_after is not None:
            script |= {"error": EngineFailed("scripted"), "error_after": error_after}
        question = f"question {next(self._numbers)}."
        self._server.says(to=question, **script)
        return question

    def was_stopped(self, question):
        return any(request.end in ("Cancelled", "DeadlineExceeded") for request in self._server.requests if request.prompt == question)


@pytest.fixture(scope="module", params=["2.51.0", "2.60.0"])
def server(request):
    """Clients leave streams of an old Triton and of a new one in different ways."""
    with FakeServer(triton_version=request.param) as server:
        yield server


@pytest.fixture
def served(server):
    return Served(server)


@pytest.mark.parametrize("make", [Client, BlockingClient])
def test_whether_a_server_is_ready_that_refuses_the_secret_is_not_told(make):
    """False would let a program wait for ever."""

    class Guard(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):  # gRPC's signature
            reason = "This protocol is restricted, expecting header 'triton-grpc-protocol-s1-secret'"
            return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, reason))

    with FakeServer(interceptors=[Guard()]) as server, make(server.url) as client, pytest.raises(AccessDenied, match="wants a secret"):
        client.is_ready()
    with make("127.0.0.1:1", connect_timeout_s=1) as client:
        assert client.is_ready() is False
