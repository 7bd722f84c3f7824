# SPDX-License-Identifier: Apache-2.0
"""What is due at the same time is sent together; streams that have to wait get their turns in order."""

import asyncio

import pytest

from budgetforce.serving.replies.send_batch import BatchSender, StreamSend
from budgetforce.serving.replies.send_pace import BURST_S, TARGET_SHARE, SendPace
from budgetforce.serving.replies.send_queue import SendQueue


class Stream:
    """Records its sends in ``log`` and adds itself to the queue when its turn has come."""

    def __init__(self, name, log, queue, *, failure=None):
        self.name, self.log, self.queue = name, log, queue
        self.failure, self.learnt, self.wants_turn = failure, [], True

    def next_send(self):
        return StreamSend(call=self.send, num_messages=1)

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


class Batches(BatchSender):
    """Counts the sends of each batch."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def send(self, batch):
        self.sizes.append(len(batch))
        return super().send(batch)


def test_streams_that_are_due_in_one_pass_leave_in_one_batch_before_the_loop_goes_on():
    """Over BLS the loop's thread blocks for the next token right after it."""
    sender, log = Batches(), []

    async def scenario():
        queue = SendQueue(sender)
        streams = [Stream(name, log, queue) for name in "abc"]
        for stream in streams:
            queue.add(stream)
        assert not log
        await asyncio.sleep(0)
        assert [stream.learnt for stream in streams] == [[None]] * 3
        queue.add(streams[0])
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert log == ["a", "b", "c", "a"]
    assert sender.sizes == [3, 1]


def test_when_a_batch_cannot_be_sent_at_all_each_of_its_streams_learns_it_and_the_next_batch_is_sent():
    log, error = [], RuntimeError("can't start new thread")

    class NoThreads(Batches):
        def send(self, batch):
            if not self.sizes:
                self.sizes.append(len(batch))
                raise error
            return super().send(batch)

    async def scenario():
        queue = SendQueue(NoThreads())
        streams = [Stream(name, log, queue) for name in "ab"]
        for _ in range(2):
            for stream in streams:
                queue.add(stream)
            await asyncio.sleep(0)
        assert [stream.learnt for stream in streams] == [[error, None]] * 2

    asyncio.run(scenario())
    assert log == ["a", "b"]


def test_a_stream_whose_send_fails_learns_it_and_the_others_are_sent():
    log, error = [], OSError("shared memory is full")

    async def scenario():
        queue = SendQueue(BatchSender())
        streams = [Stream("a", log, queue), Stream("b", log, queue, failure=error), Stream("c", log, queue)]
        for stream in streams:
            queue.add(stream)
        await asyncio.sleep(0)
        assert [stream.learnt for stream in streams] == [[None], [error], [None]]

    asyncio.run(scenario())
    assert log == ["a", "b", "c"]


def test_a_stream_may_become_due_again_when_it_learns_that_it_was_sent():
    log = []

    class Again(Stream):
        def was_sent(self, failure):
            super().was_sent(failure)
            if len(self.learnt) < 3:
                self.queue.add(self)

    async def scenario():
        queue = SendQueue(BatchSender())
        queue.add(Again("a", log, queue))
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert log == ["a"] * 3


def test_without_a_pace_there_is_always_room():
    assert SendQueue(BatchSender()).has_room()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def full(now):
    """A pace whose kept time is used up; a message takes 1 ms. Its clock stands still."""
    pace = SendPace(lambda: now[0])
    pace.measured(0.001)
    pace.charge(1000)
    return pace


def test_streams_get_their_turns_in_order_and_nobody_overtakes_them(full, now):
    log = []

    async def scenario():
        queue = SendQueue(BatchSender(), full)
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


def test_a_stream_gets_its_turn_however_many_messages_leave_without(full):
    """Beginnings and ends of many short replies may use all the time; a long reply's text must still come."""
    log = []

    async def scenario():
        queue = SendQueue(BatchSender(), full)
        streams = [Stream(name, log, queue) for name in "ab"]
        for stream in streams:
            queue.wait_for_turn(stream)
        async with asyncio.timeout(10):
            while not all(stream.learnt for stream in streams):
                await asyncio.sleep(0.001)
                queue.charge(1000)

    asyncio.run(scenario())
    assert log == ["a", "b"]


def test_a_turn_that_is_no_longer_wanted_costs_nothing(full, now):
    log = []

    async def scenario():
        queue = SendQueue(BatchSender(), full)
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
