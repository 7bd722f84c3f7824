# SPDX-License-Identifier: Apache-2.0
"""A batch leaves whole before the call returns, shared by threads when it is large; a failure stays its own."""

import threading

import pytest

from budgetforce.serving.replies.send_batch import MIN_SENDS, BatchSender, StreamSend

HELD_S = 30  # of a barrier that nobody reaches


@pytest.fixture(params=[0, 1, 3])
def sender(request):
    sender = BatchSender(request.param)
    yield sender
    sender.close()


@pytest.mark.parametrize("size", range(1, 12))
def test_each_send_is_called_once_and_failures_stand_at_its_place(sender, size):
    log, errors = [], {index: OSError(str(index)) for index in range(0, size, 3)}

    def call(index):
        log.append(index)
        if index in errors:
            raise errors[index]

    batch = [StreamSend(call=lambda index=index: call(index), num_messages=index + 1) for index in range(size)]
    sent = sender.send(batch)
    assert sorted(log) == list(range(size))
    assert sent.failures == [errors.get(index) for index in range(size)]


def test_the_waits_of_a_large_batch_overlap():
    """As many sends as there are threads wait for each other: in a single thread they would never end."""
    sender, size = BatchSender(3), 4 * MIN_SENDS
    barrier = threading.Barrier(4, timeout=HELD_S)
    sent = sender.send([StreamSend(call=barrier.wait, num_messages=1)] * size)
    sender.close()
    assert sent.failures == [None] * size


def test_a_slow_send_holds_up_no_other():
    """The thread that is free takes the next."""
    sender, others_left = BatchSender(1), threading.Semaphore(0)
    slow = StreamSend(call=lambda: [others_left.acquire(timeout=HELD_S) for _ in range(5)], num_messages=1)
    others = [StreamSend(call=others_left.release, num_messages=1)] * 5
    sent = sender.send([slow, *others])
    sender.close()
    assert sent.failures == [None] * 6


def test_a_small_batch_stays_in_the_calling_thread():
    sender, threads = BatchSender(3), set()
    sender.send([StreamSend(call=lambda: threads.add(threading.current_thread()), num_messages=1)] * (MIN_SENDS - 1))
    sender.close()
    assert threads == {threading.current_thread()}


def test_the_cost_of_a_message_is_the_batch_divided(monkeypatch):
    clock = iter([10.0, 10.6])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    sent = BatchSender().send([StreamSend(call=lambda: None, num_messages=2), StreamSend(call=lambda: None, num_messages=1)])
    assert sent.s_per_message == pytest.approx(0.2)
