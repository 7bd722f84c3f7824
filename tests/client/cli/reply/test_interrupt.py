# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C during a reply: the first press answers now, the second cancels, the third ends the command."""

import os
import queue
import signal

import pytest

from client.events import RESULT
from s1_client import AnswerOpened, Cancelled, Done, InvalidRequest, ServerFailed, ThinkingDelta
from s1_client.cli.reply.interrupt import follow

THOUGHT, OPENED, DONE = ThinkingDelta(text="hm", ids=(1,)), AnswerOpened(ids=(2,)), Done(result=RESULT)


class Scripted:
    """A stream that yields queued events and records its commands."""

    def __init__(self, *events, refuses=None):
        self.told = []
        self._refuses = refuses
        self._events = queue.SimpleQueue()
        for event in events:
            self._events.put(event)

    def __iter__(self):
        while True:
            event = self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Done):
                return

    def answer_now(self):
        self.told.append("answer_now")
        if self._refuses is not None:
            raise self._refuses
        self._events.put(OPENED)
        self._events.put(DONE)

    def cancel(self):
        self.told.append("cancel")
        self._events.put(Cancelled("the request was cancelled"))


class Pressing:
    """A display that presses Ctrl-C after showing given event kinds or messages."""

    refresh_s = None

    def __init__(self, *at):
        self.shown = []
        self.is_closed = False
        self._at = list(at)

    def _show(self, what):
        self.shown.append(what)
        while self._at and self._at[0] in what:
            self._at.pop(0)
            os.kill(os.getpid(), signal.SIGINT)

    def show_event(self, event, at):
        self._show(event.kind)

    def show_message(self, text):
        self._show(text)

    def refresh(self):
        raise AssertionError("a display without refresh_s is never refreshed")

    def close(self):
        self.is_closed = True


def test_without_ctrl_c_a_reply_is_shown_to_its_end():
    display = Pressing()
    follow(Scripted(THOUGHT, OPENED, DONE), display)
    assert display.shown == ["thinking", "answer_opened", "done"]
    assert display.is_closed


def test_the_first_ctrl_c_sends_answer_now_and_says_so():
    stream, display = Scripted(THOUGHT), Pressing("thinking")
    follow(stream, display)
    assert stream.told == ["answer_now"]
    assert display.shown == ["thinking", "answering now; press Ctrl-C again to cancel", "answer_opened", "done"]


def test_the_second_ctrl_c_cancels():
    stream, display = Scripted(THOUGHT, refuses=InvalidRequest("answer_now", "True", "something else")), Pressing("thinking", "cannot")
    with pytest.raises(Cancelled):
        follow(stream, display)
    assert stream.told == ["answer_now", "cancel"]
    assert display.is_closed


def test_ctrl_c_during_the_answer_sends_no_command():
    stream, display = Scripted(THOUGHT, OPENED), Pressing("answer_opened", "already")
    with pytest.raises(Cancelled):
        follow(stream, display)
    assert stream.told == ["cancel"]
    assert display.shown[-1] == "the model is already answering; press Ctrl-C again to cancel"


def test_ctrl_c_sends_answer_now_until_all_samples_are_answering():
    stream, display = Scripted(THOUGHT, OPENED), Pressing("answer_opened")
    follow(stream, display, num_samples=2)
    assert stream.told == ["answer_now"]


def test_the_third_ctrl_c_ends_immediately():
    stream, display = Scripted(THOUGHT), Pressing("thinking", "answering", "answer_opened")
    stream.cancel = lambda: None
    stream.answer_now = lambda: stream._events.put(OPENED)
    with pytest.raises(KeyboardInterrupt):
        follow(stream, display)
    assert display.is_closed


def test_a_refused_answer_now_is_shown():
    stream = Scripted(THOUGHT, refuses=ServerFailed("no thinking to close"))
    display = Pressing("thinking", "cannot")
    with pytest.raises(Cancelled):
        follow(stream, display)
    assert "cannot answer now: no thinking to close; press Ctrl-C again to cancel" in display.shown


@pytest.mark.parametrize("error", [ServerFailed("x"), ValueError("a bug")])
def test_an_error_of_the_stream_is_raised(error):
    display = Pressing()
    with pytest.raises(type(error)):
        follow(Scripted(THOUGHT, error), display)
    assert display.is_closed


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    follow(Scripted(DONE), Pressing())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_closes_the_display():
    class Terminating(Pressing):
        def show_event(self, event, at):
            os.kill(os.getpid(), signal.SIGTERM)

    display = Terminating()
    with pytest.raises(SystemExit) as ended:
        follow(Scripted(THOUGHT), display)
    assert ended.value.code == 143
    assert display.is_closed
