# SPDX-License-Identifier: Apache-2.0
"""Spans are sent beside the requests: nothing waits for the receiver, and whatever is lost is counted and told once."""

import threading
from collections import Counter

import pytest

from budgetforce.serving import span_export
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.span_export import SpanExport
from budgetforce.serving.spans import Kind, Span
from server.waiting import wait_until

SPAN = Span(name="s1.request", kind=Kind.SERVER, context=SpanContext.root(), started=0.0, ended=1.0)


class Sender:
    """Notes the batches; ``works``: whether they arrive; waits for ``may_send``."""

    def __init__(self):
        self.batches, self.works, self.may_send = [], True, threading.Event()
        self.may_send.set()
        self.is_sending, self.is_shut_down = threading.Event(), False

    def send(self, spans):
        self.is_sending.set()
        self.may_send.wait()
        if self.works is None:
            raise OSError("no route")
        self.batches.append(len(spans))
        return self.works

    def shutdown(self):
        self.is_shut_down = True


@pytest.fixture
def made(monkeypatch):
    """The export, its sender, its counts and its warnings."""
    monkeypatch.setattr(span_export, "PERIOD_S", 0.01)
    sender, counts, warnings = Sender(), Counter(), []
    export = SpanExport(sender, lambda result, number: counts.update({result: number}), warnings.append, "http://r")
    yield export, sender, counts, warnings
    sender.may_send.set()
    export.close()


def test_spans_are_sent_and_counted(made):
    export, sender, counts, warnings = made
    export.put([SPAN] * 3)
    wait_until(lambda: counts == {"exported": 3}, seconds=5)
    export.close()
    assert (sender.batches, warnings, sender.is_shut_down) == ([3], [], True)


def test_the_last_spans_are_sent_when_it_closes(monkeypatch):
    monkeypatch.setattr(span_export, "PERIOD_S", 1000)
    sender, counts = Sender(), Counter()
    export = SpanExport(sender, lambda result, number: counts.update({result: number}), print)
    export.put([SPAN])
    export.close()
    assert (sender.batches, counts) == ([1], {"exported": 1})


@pytest.mark.parametrize("works", [False, None])
def test_lost_spans_are_counted_and_told_once_until_spans_arrive_again(made, works):
    export, sender, counts, warnings = made
    sender.works = works
    for number in (1, 2):
        export.put([SPAN] * 2)
        wait_until(lambda number=number: counts == {"lost": 2 * number}, seconds=5)
    assert len(warnings) == 1
    assert "spans for http://r are lost: the receiver did not take them" in warnings[0]
    sender.works = True
    export.put([SPAN])
    wait_until(lambda: len(warnings) == 2, seconds=5)
    assert "arrive at http://r again; 4 were lost" in warnings[1]
    assert counts == {"lost": 4, "exported": 1}


def test_a_receiver_that_hangs_blocks_nobody_and_costs_bounded_memory(made, monkeypatch):
    export, sender, counts, warnings = made
    monkeypatch.setattr(span_export, "MAX_WAITING", 5)
    sender.may_send.clear()
    export.put([SPAN])
    assert sender.is_sending.wait(5)
    export.put([SPAN] * 4)  # returns although the sender hangs
    export.put([SPAN] * 2)
    export.put([SPAN])
    assert counts == {"lost": 2}
    assert "5 others wait to be sent" in warnings[0]
    sender.may_send.set()
    wait_until(lambda: counts == {"lost": 2, "exported": 6}, seconds=5)


def test_a_large_request_is_sent_in_several_messages(made, monkeypatch):
    export, sender, counts, _ = made
    monkeypatch.setattr(span_export, "MAX_BATCH", 2)
    export.put([SPAN] * 5)
    wait_until(lambda: counts == {"exported": 5}, seconds=5)
    assert sender.batches == [2, 2, 1]


def test_closing_does_not_wait_for_a_receiver_that_hangs(made, monkeypatch):
    export, sender, _, warnings = made
    monkeypatch.setattr(span_export, "CLOSE_S", 0.01)
    sender.may_send.clear()
    export.put([SPAN])
    assert sender.is_sending.wait(5)
    export.close()
    assert sender.is_shut_down
    sender.works = False
    sender.may_send.set()
    export._thread.join()
    assert warnings == []  # Triton's log may be gone by then
