# SPDX-License-Identifier: Apache-2.0
"""What is due at the same time is sent together, in one thread; streams that have to wait get their turns in order."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from budgetforce.serving.replies.send_pace import BURST_S, TARGET_SHARE, SendPace
from budgetforce.serving.replies.send_queue import SendQueue
from budgetforce.serving.runtime import InlineExecutor


class HeldExecutor:
    """Runs what was submitted when the test says so; counts how often something was."""

    def __init__(self):
        self.submitted = []

    def submit(self, function, *values):
        future = Future()
        self.submitted.append((future, partial(function, *values)))
        return future

    def run(self):
        future, function = self.submitted[-1]
        future.set_result(function())

    def shutdown(self):
        pass


class Stream:
    """Records its sends in ``log`` and adds itself to the queue when its turn has come."""

    def __init__(self, name, log, queue, *, failure=None):
        self.name, self.log, self.queue = name, log, queue
        self.failure, self.learnt, self.wants_turn = failure, [], True

    def next_send(self):
        return self.send, 1

    def send(self):
        self.log.append(self.name)
        if self.failure is not None:
            raise self.failure

    def was_sent(self, failure):
        self.learnt.append(failure)

    def take_turn(self):
        if self.wants_turn:
            self.queue.add(self)
        return self.wants_turn


async def passes(number=3):
    """Let the event loop run a few times."""
    for _ in range(number):
        await asyncio.sleep(0)


def test_streams_that_are_due_in_one_pass_wake_the_thread_once():
    executor, log = HeldExecutor(), []

    async def scenario():
        queue = SendQueue(executor)
        for name in "abc":
            queue.add(Stream(name, log, queue))
        await passes()
        assert len(executor.submitted) == 1
        executor.run()

    asyncio.run(scenario())
    assert log == ["a", "b", "c"]


def test_a_batch_at_a_time_and_the_next_one_takes_what_came_meanwhile():
    executor, log = HeldExecutor(), []

    async def scenario():
        queue = SendQueue(executor)
        queue.add(Stream("a", log, queue))
        await passes()
        for name in "bc":
            queue.add(Stream(name, log, queue))
            await passes()
        assert len(executor.submitted) == 1
        executor.run()
        await passes()
        assert len(executor.submitted) == 2
        executor.run()
        await passes()

    asyncio.run(scenario())
    assert log == ["a", "b", "c"]


def test_a_stream_whose_send_fails_learns_it_and_the_others_are_sent():
    log, error = [], OSError("shared memory is full")

    async def scenario(pool):
        queue = SendQueue(pool)
        streams = [Stream("a", log, queue), Stream("b", log, queue, failure=error), Stream("c", log, queue)]
        for stream in streams:
            queue.add(stream)
        await passes()
        queue.notify()
        async with asyncio.timeout(10):
            while not all(stream.learnt for stream in streams):
                await asyncio.sleep(0)
        assert [stream.learnt for stream in streams] == [[None], [error], [None]]

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(scenario(pool))
    assert log == ["a", "b", "c"]


def test_an_executor_that_sends_at_once_has_sent_before_the_loop_goes_on():
    """Over BLS the loop's thread blocks for the next token right after it."""
    log = []

    async def scenario():
        queue = SendQueue(InlineExecutor())
        stream = Stream("a", log, queue)
        queue.add(stream)
        await asyncio.sleep(0)
        assert stream.learnt == [None]

    asyncio.run(scenario())


def test_without_a_pace_there_is_always_room():
    assert SendQueue(InlineExecutor()).has_room()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def full(now):
    """A pace whose kept time is used up; a message takes 1 ms. Its clock stands still."""
    pace = SendPace(lambda: now[0])
    pace.measured([0.001])
    pace.charge(1000)
    return pace


def test_streams_get_their_turns_in_order_and_nobody_overtakes_them(full, now):
    log = []

    async def scenario():
        queue = SendQueue(InlineExecutor(), full)
        streams = [Stream(name, log, queue) for name in "abc"]
        for stream in streams:
            assert not queue.has_room()
            queue.wait_for_turn(stream)
        now[0] += 3600  # room for all, but those who wait go first
        assert not queue.has_room()
        async with asyncio.timeout(10):
            while not all(stream.learnt for stream in streams):
                await asyncio.sleep(0.001)
        assert log == ["a", "b", "c"]
        assert queue.has_room()

    asyncio.run(scenario())


def test_a_turn_that_is_no_longer_wanted_costs_nothing(full, now):
    log = []

    async def scenario():
        queue = SendQueue(InlineExecutor(), full)
        gone = [Stream(name, log, queue) for name in range(1000)]
        for stream in gone:
            stream.wants_turn = False
            queue.wait_for_turn(stream)
        last = Stream("a", log, queue)
        queue.wait_for_turn(last)
        now[0] += (BURST_S + 0.001) / TARGET_SHARE  # room for just one message
        async with asyncio.timeout(10):
            while not last.learnt:
                await asyncio.sleep(0.001)

    asyncio.run(scenario())
    assert log == ["a"]
