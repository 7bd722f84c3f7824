# SPDX-License-Identifier: Apache-2.0
"""Show a reply to its end and handle Ctrl-C meanwhile: the first press means answer now, the second cancel.

A thread reads the stream and another sends the commands of Ctrl-C; both report to the drawing thread through a queue. The
signal handler only puts a message into the queue, because it may have interrupted any code, even inside gRPC's locks.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from s1_client import AnswerDelta, AnswerOpened, Event, S1Error
from s1_client.cli.reply.display import Display

AGAIN = "press Ctrl-C again to cancel"
_LOCAL_MODES = 3  # index in a terminal's attributes


class EventStream(Protocol):
    """The part of a ``Stream`` that is used here."""

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events of the reply. Raises S1Error."""
        ...

    def answer_now(self) -> None:
        """Make the model close its thinking and answer. Raises S1Error."""

    def cancel(self) -> None:
        """Cancel the request on the server."""


@dataclass(frozen=True, slots=True)
class _EventArrived:
    event: Event
    at: float


@dataclass(frozen=True, slots=True)
class _StreamEnded:
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class _AnswerNowFailed:
    error: S1Error


class _CtrlCPressed:
    """Ctrl-C was pressed once more."""


_Message = _EventArrived | _StreamEnded | _AnswerNowFailed | _CtrlCPressed


def follow(stream: EventStream, display: Display, *, num_samples: int = 1) -> None:
    """Show the replies of a stream until its end.

    Raises S1Error: Cancelled after a second Ctrl-C. A third Ctrl-C raises KeyboardInterrupt immediately.
    """
    loop = _DisplayLoop(stream, display, num_samples)
    try:
        with _signals(loop.press, loop.terminate), _echo_off():
            loop.run()
    finally:
        display.close()


class _DisplayLoop:
    """Receives the messages of the other threads and of the signal handlers, and draws."""

    def __init__(self, stream: EventStream, display: Display, num_samples: int) -> None:
        self._stream = stream
        self._display = display
        self._num_samples = num_samples
        self._num_presses = 0
        self._answering: set[int] = set()
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._draws_at = time.monotonic()

    def press(self) -> None:
        """Report Ctrl-C; called by the signal handler."""
        self._messages.put(_CtrlCPressed())  # SimpleQueue.put is reentrant

    def terminate(self) -> None:
        """End the loop on SIGTERM; called by the signal handler. An exception there could leave a drawing half done."""
        self._messages.put(_StreamEnded(SystemExit(128 + signal.SIGTERM)))

    def run(self) -> None:
        _in_background(self._read)
        while not isinstance(message := self._next(), _StreamEnded):
            match message:
                case _EventArrived(event, at):
                    self._show(event, at)
                case _CtrlCPressed():
                    self._handle_ctrl_c()
                case _AnswerNowFailed(error):
                    self._display.show_message(f"cannot answer now: {error}; {AGAIN}")
            self._draw_if_due()
        if message.error is not None:
            raise message.error

    def _next(self) -> _Message | None:
        """Return the next message, or None when it is time to draw."""
        timeout_s = None if self._display.refresh_s is None else max(self._draws_at - time.monotonic(), 0)
        try:
            return self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _draw_if_due(self) -> None:
        if self._display.refresh_s is not None and time.monotonic() >= self._draws_at:
            self._display.refresh()
            self._draws_at = time.monotonic() + self._display.refresh_s

    def _show(self, event: Event, at: float) -> None:
        if isinstance(event, AnswerOpened | AnswerDelta):
            self._answering.add(event.index)
        self._display.show_event(event, at)

    def _handle_ctrl_c(self) -> None:
        self._num_presses += 1
        if self._num_presses > 2:
            raise KeyboardInterrupt
        if self._num_presses == 2:
            _in_background(self._stream.cancel)
        elif len(self._answering) == self._num_samples:
            self._display.show_message(f"the model is already answering; {AGAIN}")
        else:
            self._display.show_message(f"answering now; {AGAIN}")
            _in_background(self._answer_now)

    def _answer_now(self) -> None:
        try:
            self._stream.answer_now()
        except S1Error as error:
            self._messages.put(_AnswerNowFailed(error))

    def _read(self) -> None:
        error: Exception | None = None
        try:
            for event in self._stream:
                self._messages.put(_EventArrived(event, time.monotonic()))
        except Exception as caught:  # noqa: BLE001  # raised again in the drawing thread
            error = caught
        self._messages.put(_StreamEnded(error))


def _in_background(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


@contextlib.contextmanager
def _signals(press: Callable[[], None], terminate: Callable[[], None]) -> Iterator[None]:
    """Call ``press`` on Ctrl-C and ``terminate`` on SIGTERM, which restores the terminal; a second SIGTERM kills immediately."""

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        terminate()

    before = {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: press()), signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _echo_off() -> Iterator[None]:
    """Turn terminal echo off while drawing: an Enter would shift the live rows. Typed input stays queued."""
    if not _is_our_terminal():
        yield
        return
    import termios  # missing on Windows

    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[_LOCAL_MODES] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _is_our_terminal() -> bool:
    """Return whether stdin is a terminal in whose foreground we run; in the background, changing it would stop the process."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, AttributeError):
        return False
