# SPDX-License-Identifier: Apache-2.0
"""A small request is worked on at once, the first of a pass of the event loop; any other by the workers."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.request_work import MAX_BYTES_HERE, RequestWork


@pytest.fixture
def play():
    """Runs a scenario with the work; a request of it is done ``here`` or by a ``worker``."""

    async def run(scenario):
        work = RequestWork(ThreadPoolExecutor(1))
        try:
            await scenario(work)
        finally:
            work.close()

    return lambda scenario: asyncio.run(run(scenario))


def request(num_bytes=10):
    texts = {"text_input": [b"x" * (num_bytes - 3)], "stop_words": [b"a", b"bc"]}
    inputs = {**texts, "max_tokens": [100], "stream": [True]}
    return IncomingRequest(request_id="r", inputs=inputs, writer=None, arrived=time.monotonic())


async def place_of(work, incoming):
    thread = await work.do(incoming, threading.current_thread)
    return "here" if thread is threading.current_thread() else "worker"


def test_a_small_request_waits_for_no_other_thread_at_any_of_its_steps(play):
    async def scenario(work):
        for _ in range(3):
            incoming = request()
            assert [await place_of(work, incoming) for _ in range(2)] == ["here", "here"]
            await asyncio.sleep(0)

    play(scenario)


def test_of_requests_that_come_together_only_one_holds_up_the_event_loop(play):
    async def scenario(work):
        assert await asyncio.gather(*(place_of(work, request()) for _ in range(4))) == ["here", "worker", "worker", "worker"]
        assert await place_of(work, request()) == "here"

    play(scenario)


@pytest.mark.parametrize(("num_bytes", "place"), [(MAX_BYTES_HERE, "here"), (MAX_BYTES_HERE + 1, "worker")])
def test_a_request_is_small_by_the_bytes_of_all_its_texts(play, num_bytes, place):
    async def scenario(work):
        assert await place_of(work, request(num_bytes)) == place

    play(scenario)


def test_what_the_work_raises_reaches_the_request(play):
    def fail(text):
        raise ValueError(text)

    async def scenario(work):
        for num_bytes in (10, 10_000):
            with pytest.raises(ValueError, match="bad"):
                await work.do(request(num_bytes), fail, "bad")

    play(scenario)
