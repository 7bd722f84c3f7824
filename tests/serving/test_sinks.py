# SPDX-License-Identifier: Apache-2.0
"""Chunks leave in order, the first at once, the rest as the consumer keeps up; nothing is lost."""

import asyncio
import math

import pytest

from budgetforce.serving.replies import sinks
from budgetforce.serving.replies.send_batch import BatchSender
from budgetforce.serving.replies.send_queue import SendQueue
from budgetforce.serving.replies.sinks import LEAST_SHARE, JoiningSink, OutputChunk, StreamSink, merge
from budgetforce.serving.runtime import InlineExecutor

DONE = OutputChunk(event="done", result="{}")


def think(text, *ids, index=0):
    return OutputChunk(event="thinking", thinking=text, ids=ids, index=index)


class Wire:
    """Remembers every send."""

    def __init__(self):
        self.sent = []

    def send(self, chunks, final):
        self.sent.append((list(chunks), final))


@pytest.fixture
def wire():
    return Wire()


async def until_ready(sink):
    if (waiter := sink.ready()) is not None:
        await waiter


def run(scenario):
    asyncio.run(scenario())


def test_a_stream_sends_the_first_chunk_at_once_and_later_ones_together(wire):
    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))
        sink.put(think("a", 1))
        await asyncio.sleep(0)
        assert wire.sent == [([think("a", 1)], False)]
        for n in range(5):
            sink.put(think("b", n))
        sink.put(DONE)
        await sink.close()

    run(scenario)
    assert wire.sent[1:] == [([think("bbbbb", 0, 1, 2, 3, 4), DONE], True)]


def test_settling_sends_what_has_come_and_nothing_more(wire):
    """The client gets what the error's account says has come."""

    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))
        sink.put(think("many", *range(1000)))
        await until_ready(sink)
        sink.put(think("a", 1))  # held back
        await asyncio.sleep(0)
        assert len(wire.sent) == 1
        await sink.settle()
        await sink.settle()

    run(scenario)
    assert [chunks for chunks, _ in wire.sent] == [[think("many", *range(1000))], [think("a", 1)]]


def test_a_send_that_fails_raises_in_the_next_call(wire):
    """By the next chunk or by closing; settling stays calm."""

    def fail(chunks, final):
        raise OSError("shared memory is full")

    async def scenario():
        sink = StreamSink(fail, SendQueue(BatchSender()))
        sink.put(DONE)
        with pytest.raises(OSError, match="shared memory is full"):
            await sink.close()
        with pytest.raises(OSError, match="shared memory is full"):
            sink.put(think("a"))
        await sink.settle()

    run(scenario)


def test_many_chunks_from_a_fast_engine_arrive_whole_and_in_order(wire):
    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))
        for n in range(2000):
            sink.put(think(".", n))
            if n % 7 == 0:
                await asyncio.sleep(0)
        sink.put(DONE)
        await sink.close()

    run(scenario)
    assert [i for chunks, _ in wire.sent for chunk in chunks for i in chunk.ids] == list(range(2000))


def test_the_longer_a_reply_the_more_is_in_a_message(wire, monkeypatch):
    """Nobody can see whether a client reads, so what an unread reply costs is bounded: 1,500 messages for 32,000 ids,
    however fast they are taken.
    """
    monkeypatch.setattr(sinks, "MAX_HELD_S", math.inf)

    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))
        for n in range(32_000):
            sink.put(think(".", n))
            await until_ready(sink)
        sink.put(DONE)
        await sink.close()

    run(scenario)
    lengths = [len(chunk.ids) for chunks, _ in wire.sent for chunk in chunks]
    assert len(lengths) <= LEAST_SHARE * (1 + math.log(32_000 / LEAST_SHARE)) + 1
    assert lengths[:LEAST_SHARE] == [1] * LEAST_SHARE
    assert max(lengths) <= 32_000 / LEAST_SHARE + 1
    assert [i for chunks, _ in wire.sent for chunk in chunks for i in chunk.ids] == list(range(32_000))


def test_held_chunks_leave_with_the_end_of_a_round_and_after_a_while(wire, monkeypatch):
    monkeypatch.setattr(sinks, "MAX_HELD_S", 600.0)

    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))

        async def put(*chunks):
            for chunk in chunks:
                sink.put(chunk)
            await until_ready(sink)

        await put(think("many", *range(1000)))
        await put(think("a", 1))
        assert len(wire.sent) == 1
        await put(OutputChunk(event="round_ended", round="1"))
        assert wire.sent[1][0] == [think("a", 1), OutputChunk(event="round_ended", round="1")]
        await put(think("b", 2))  # the next round's first
        assert wire.sent[2][0] == [think("b", 2)]
        await put(think("c", 3))
        assert len(wire.sent) == 3
        monkeypatch.setattr(sinks, "MAX_HELD_S", 0.0)
        await put(think("d", 4))
        assert wire.sent[3][0] == [think("cd", 3, 4)]

    run(scenario)


def test_held_chunks_leave_though_the_engine_goes_silent(wire, monkeypatch):
    """No further chunk comes to send it with; also when another message has left meanwhile."""
    monkeypatch.setattr(sinks, "MAX_HELD_S", 0.05)

    def text():
        return "".join(chunk.thinking for chunks, _ in wire.sent[1:] for chunk in chunks)

    async def until_sent(expected):
        async with asyncio.timeout(30):
            while text() != expected:
                await asyncio.sleep(0.005)

    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))
        sink.put(think("many", *range(1000)))
        await until_ready(sink)
        sink.put(think("a", 1))
        await until_sent("a")
        sink.put(think("b", 2))
        sink.put(OutputChunk(event="round_ended", round="1"))
        sink.put(think("c", 3))
        await until_ready(sink)
        sink.put(think("d", 4))
        await until_sent("abcd")

    run(scenario)


def test_held_chunks_leave_before_an_error(wire):
    """The client gets what the error's account says has come."""

    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()))
        for chunk in (think("many", *range(1000)), think("a", 1)):
            sink.put(chunk)
            await until_ready(sink)
        await sink.settle()

    run(scenario)
    assert [chunks for chunks, _ in wire.sent][1:] == [[think("a", 1)]]


def test_samples_side_by_side_go_in_a_message_each(wire):
    """Not in one for every id, because their ids come in turn."""

    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()), num_samples=3)
        sink.put(think("x"))
        await until_ready(sink)
        for n in range(9):
            sink.put(think("abc"[n % 3], n, index=n % 3))
        await until_ready(sink)

    run(scenario)
    assert wire.sent[1][0] == [think("aaa", 0, 3, 6), think("bbb", 1, 4, 7, index=1), think("ccc", 2, 5, 8, index=2)]


class Turns(SendQueue):
    """A queue that is full: streams get their turns from the test."""

    waiting = ()
    num_charged = 0

    def has_room(self):
        return False

    def wait_for_turn(self, stream):
        self.waiting = (*self.waiting, stream)

    def charge(self, num_messages):
        self.num_charged += num_messages

    def give_turn(self):
        stream, *waiting = self.waiting
        self.waiting = tuple(waiting)
        return stream.take_turn()


def turns(scenario):
    async def wrapped():
        queue = Turns(BatchSender())
        await scenario(queue)

    asyncio.run(wrapped())


def test_who_is_ready_waits_for_a_turn_once_and_keeps_it_until_a_message_leaves(wire):
    async def scenario(queue):
        sink = StreamSink(wire.send, queue)
        waiters = [sink.ready(), sink.ready()]  # two samples
        assert queue.waiting == (sink,)
        assert queue.give_turn()
        assert all(waiter.done() for waiter in waiters)
        assert sink.ready() is None
        sink.put(think("a", 1))
        await asyncio.sleep(0)
        assert queue.num_charged == 0  # the turn paid for it
        assert sink.ready() is not None

    turns(scenario)
    assert [chunks for chunks, _ in wire.sent] == [[think("a", 1)]]


def test_what_is_put_without_a_turn_leaves_at_once_and_is_charged(wire):
    """First ids, beginnings and ends, results: nobody waits for a turn with those."""

    async def scenario(queue):
        sink = StreamSink(wire.send, queue)
        sink.put(think("a", 1))
        sink.put(DONE)
        await sink.close()
        assert queue.num_charged == 2

    turns(scenario)
    assert wire.sent == [([think("a", 1), DONE], True)]


def test_a_turn_of_calls_that_are_over_is_declined(wire):
    async def scenario(queue):
        sink = StreamSink(wire.send, queue)
        sink.ready().cancel()
        assert not queue.give_turn()
        assert sink.ready() is not None
        assert queue.waiting == (sink,)

    turns(scenario)


def test_joining_sends_one_response_with_everything(wire):
    async def scenario():
        sink = JoiningSink(wire.send, InlineExecutor())
        sink.put(think("a", 1))
        sink.put(OutputChunk(event="answer", answer="b", ids=(2,)))
        sink.put(DONE)
        await sink.close()

    run(scenario)
    assert wire.sent == [([OutputChunk(event="done", thinking="a", answer="b", ids=(1, 2), result="{}")], True)]


def test_a_stream_of_several_samples_ends_with_the_last_ones_result(wire):
    async def scenario():
        sink = StreamSink(wire.send, SendQueue(BatchSender()), num_samples=2)
        for index in (1, 0):
            sink.put(think("a", index=index))
            sink.put(OutputChunk(event="done", index=index, result=str(index)))
            await sink.close()

    run(scenario)
    results = [chunk.result for chunks, _ in wire.sent for chunk in chunks if chunk.result]
    assert results == ["1", "0"]
    assert [final for _, final in wire.sent] == [False] * (len(wire.sent) - 1) + [True]


def test_joining_sends_the_samples_in_order(wire):
    async def scenario():
        sink = JoiningSink(wire.send, InlineExecutor())
        for index in (1, 0, 1, 0):
            sink.put(think("ab"[index], index, index=index))
        for index in (1, 0):
            sink.put(OutputChunk(event="done", index=index, result=str(index)))
        await sink.close()

    run(scenario)
    whole = [OutputChunk(event="done", index=i, thinking="ab"[i] * 2, ids=(i, i), result=str(i)) for i in (0, 1)]
    assert wire.sent == [(whole, True)]


def test_joining_sends_nothing_when_it_is_settled(wire):
    async def scenario():
        sink = JoiningSink(wire.send, InlineExecutor())
        sink.put(think("a"))
        await sink.settle()

    run(scenario)
    assert wire.sent == []


def test_only_neighbours_of_the_same_event_and_sample_are_merged():
    answer = OutputChunk(event="answer", answer="x", ids=(9,))
    assert merge([think("a", 1), think("b", 2), answer, think("c", 3)]) == [think("ab", 1, 2), answer, think("c", 3)]
    assert merge([think("a"), think("b", index=1)]) == [think("a"), think("b", index=1)]
    rounds = [OutputChunk(event="round_ended", round=text) for text in ("1", "2")]
    assert merge(rounds) == rounds
    assert merge([]) == []
