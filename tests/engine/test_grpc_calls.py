# SPDX-License-Identifier: Apache-2.0
"""gRPC over libcurl, against grpcio's own server: messages arrive whole, and every end of a call is reported."""

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from budgetforce.engine import grpc_calls
from budgetforce.engine.endpoint import Endpoint
from budgetforce.engine.grpc_calls import CallFailed, GrpcCalls
from budgetforce.launcher.ports import choose_ports


class Service(grpc.GenericRpcHandler):
    """Method Many returns as many messages as the request has bytes, Wait waits for a cancel, Peer returns the caller's address."""

    def __init__(self):
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    def service(self, details):
        handlers = {"/test/Many": self.many, "/test/Wait": self.wait, "/test/Peer": self.peer, "/test/Fail": self.fail}
        if details.method not in handlers:
            return None
        return grpc.unary_stream_rpc_method_handler(handlers[details.method])

    def many(self, request, context):
        for number in range(len(request)):
            yield bytes([number % 256]) * (number * 37 % 5000)

    def wait(self, request, context):
        context.add_callback(self.cancelled.set)
        self.begun.set()
        yield b"first"
        self.cancelled.wait(20)

    def peer(self, request, context):
        yield context.peer().encode()

    def fail(self, request, context):
        yield b"before"
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "50 % full: größer geht nicht")


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def address(service):
    server = grpc.server(ThreadPoolExecutor(8), handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def free_address():
    return f"127.0.0.1:{choose_ports(http=0, grpc=0, metrics=0).grpc}"


def run(address, scenario):
    async def wrapped():
        calls = GrpcCalls(Endpoint(address=address))
        try:
            return await asyncio.wait_for(scenario(calls), 20)
        finally:
            calls.close()

    return asyncio.run(wrapped())


@pytest.mark.parametrize("num", [0, 1, 3000])
def test_every_message_arrives_whole_and_in_order(address, num):
    """Some are empty, some larger than a frame."""

    async def scenario(calls):
        messages = []
        await calls.start("test/Many", b"x" * num, messages.append).ended
        return messages

    assert run(address, scenario) == [bytes([n % 256]) * (n * 37 % 5000) for n in range(num)]


def test_more_calls_than_libcurls_default_limit_run_on_a_single_connection(address):
    async def scenario(calls):
        counts = [0] * 150

        def counter(index):
            def count(_):
                counts[index] += 1

            return count

        await asyncio.gather(*(calls.start("test/Many", b"x" * 20, counter(index)).ended for index in range(150)))
        return counts

    assert run(address, scenario) == [20] * 150


def test_a_call_on_an_open_connection_leaves_before_the_loop_does_anything_else(address, service):
    async def scenario(calls):
        await calls.start("test/Many", b"x", lambda _: None).ended
        call = calls.start("test/Wait", b"", lambda _: None)
        has_begun = service.begun.wait(10)  # blocks the loop
        call.cancel()
        return has_begun

    assert run(address, scenario)


def test_a_cancelled_call_ends_on_the_server_too(address, service):
    async def scenario(calls):
        first = asyncio.Event()
        call = calls.start("test/Wait", b"", lambda _: first.set())
        await first.wait()
        call.cancel()
        call.cancel()  # once is enough
        await asyncio.get_running_loop().run_in_executor(None, service.cancelled.wait, 10)
        return call.ended.cancelled(), service.cancelled.is_set()

    assert run(address, scenario) == (True, True)


def test_a_status_other_than_ok_is_reported_with_the_servers_message(address):
    async def scenario(calls):
        messages = []
        with pytest.raises(CallFailed, match="^50 % full: größer geht nicht$"):
            await calls.start("test/Fail", b"", messages.append).ended
        return messages

    assert run(address, scenario) == [b"before"]


def test_an_unknown_method_is_a_failure(address):
    async def scenario(calls):
        with pytest.raises(CallFailed, match="Method not found"):
            await calls.start("test/Nothing", b"", print).ended

    run(address, scenario)


def test_a_missing_server_is_a_failure_at_once_and_found_when_it_starts(service, free_address):
    """With the same GrpcCalls object."""

    async def scenario(calls):
        with pytest.raises(CallFailed, match="connect"):
            await calls.start("test/Many", b"x", print).ended
        server = grpc.server(ThreadPoolExecutor(2), handlers=[service])
        server.add_insecure_port(calls._endpoint.address)
        server.start()
        messages = []
        await calls.start("test/Many", b"xx", messages.append).ended
        server.stop(None).wait()
        return len(messages)

    assert run(free_address, scenario) == 2


def test_a_server_that_goes_away_fails_its_running_calls(service, free_address):
    async def scenario(calls):
        server = grpc.server(ThreadPoolExecutor(2), handlers=[service])
        server.add_insecure_port(calls._endpoint.address)
        server.start()
        first = asyncio.Event()
        call = calls.start("test/Wait", b"", lambda _: first.set())
        await first.wait()
        server.stop(None)
        with pytest.raises(CallFailed):
            await call.ended

    run(free_address, scenario)


def test_a_connection_that_was_idle_for_long_is_not_used_again(address, monkeypatch):
    """The server may have dropped it, because libcurl answers no pings between calls."""
    monkeypatch.setattr(grpc_calls, "_MAX_IDLE_S", 1)

    async def scenario(calls):
        peers = []
        for pause_s in (0, 2.1, 0):
            await calls.start("test/Peer", b"", peers.append).ended
            await asyncio.sleep(pause_s)
        return [peers.index(peer) for peer in peers]

    assert run(address, scenario) == [0, 0, 2]


def test_tasks_that_are_cancelled_while_they_await_calls_do_not_harm_the_others(address):
    """Their futures are cancelled with them; other calls that end at the same moment must still end."""

    async def scenario(calls):
        async def one(_):
            call = calls.start("test/Many", b"x" * 50, lambda _: None)
            try:
                await call.ended
            finally:
                call.cancel()

        tasks = [asyncio.create_task(one(number)) for number in range(16)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(end) for end in ends]

    assert run(address, scenario) == [asyncio.CancelledError, type(None)] * 8


@pytest.mark.parametrize("end", ["ends", "is cancelled"])
def test_a_call_that_is_over_leaves_no_garbage(address, end):
    """libcurl keeps 70 kB for each, and a call that ran for long is garbage that Python looks for once in thousands of calls."""

    async def scenario(calls):
        first = asyncio.Event()
        call = calls.start("test/Many" if end == "ends" else "test/Wait", b"xx", lambda _: first.set())
        await first.wait()
        if end == "is cancelled":
            call.cancel()
        await asyncio.wait([call.ended])
        return weakref.ref(call)

    gc.collect()
    gc.disable()
    try:
        assert run(address, scenario)() is None
    finally:
        gc.enable()
