# SPDX-License-Identifier: Apache-2.0
"""Reading a reply to its end, and what Ctrl-C means meanwhile: once = answer now, twice = cancel.

One thread reads the stream, one tells the server what Ctrl-C asks of it; whatever they learn comes to the thread that
draws through a queue. The signal's handler only puts something into it: it may have interrupted anything, gRPC's locks too.
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

AGAIN = "Ctrl-C again cancels"
_LOCAL_MODES = 3  # of a terminal's attributes


class Replies(Protocol):
    """What is needed of a ``Stream``."""

    def __iter__(self) -> Iterator[Event]:
        """Its events. Raises S1Error."""
        ...

    def answer_now(self) -> None:
        """Close the thinking. Raises S1Error."""

    def cancel(self) -> None:
        """End the request."""


@dataclass(frozen=True, slots=True)
class _Came:
    event: Event
    at: float


@dataclass(frozen=True, slots=True)
class _Ended:
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class _Refused:
    error: S1Error


class _Pressed:
    """Ctrl-C."""


_Item = _Came | _Ended | _Refused | _Pressed


def follow(stream: Replies, display: Display, *, num_samples: int = 1) -> None:
    """Show replies as they come, to their end. Raises S1Error; behind a second Ctrl-C Cancelled, behind a third
    KeyboardInterrupt at once.
    """
    following = _Following(stream, display, num_samples)
    try:
        with _signals(following.press, following.terminate), _keys_unseen():
            following.run()
    finally:
        display.close()


class _Following:
    def __init__(self, stream: Replies, display: Display, num_samples: int) -> None:
        self._stream = stream
        self._display = display
        self._num_samples = num_samples
        self._num_pressed = 0
        self._answering: set[int] = set()
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._draws_at = time.monotonic()

    def press(self) -> None:
        """From a signal's handler."""
        self._items.put(_Pressed())  # may be called again while it runs

    def terminate(self) -> None:
        """From a signal's handler: not by an exception there, which could leave a drawing half done."""
        self._items.put(_Ended(SystemExit(128 + signal.SIGTERM)))

    def run(self) -> None:
        _in_background(self._read)
        while not isinstance(item := self._next(), _Ended):
            match item:
                case _Came(event, at):
                    self._came(event, at)
                case _Pressed():
                    self._pressed()
                case _Refused(error):
                    self._display.tell(f"cannot answer now: {error}; {AGAIN}")
            self._draw_if_due()
        if item.error is not None:
            raise item.error

    def _next(self) -> _Item | None:
        """None when it is time to draw."""
        patience_s = None if self._display.refresh_s is None else max(self._draws_at - time.monotonic(), 0)
        try:
            return self._items.get(timeout=patience_s)
        except queue.Empty:
            return None

    def _draw_if_due(self) -> None:
        if self._display.refresh_s is not None and time.monotonic() >= self._draws_at:
            self._display.refresh()
            self._draws_at = time.monotonic() + self._display.refresh_s

    def _came(self, event: Event, at: float) -> None:
        if isinstance(event, AnswerOpened | AnswerDelta):
            self._answering.add(event.index)
        self._display.add(event, at)

    def _pressed(self) -> None:
        self._num_pressed += 1
        if self._num_pressed > 2:
            raise KeyboardInterrupt
        if self._num_pressed == 2:
            _in_background(self._stream.cancel)
        elif len(self._answering) == self._num_samples:
            self._display.tell(f"the answer is coming already; {AGAIN}")
        else:
            self._display.tell(f"answering now; {AGAIN}")
            _in_background(self._answer_now)

    def _answer_now(self) -> None:
        try:
            self._stream.answer_now()
        except S1Error as error:
            self._items.put(_Refused(error))

    def _read(self) -> None:
        error: Exception | None = None
        try:
            for event in self._stream:
                self._items.put(_Came(event, time.monotonic()))
        except Exception as caught:  # noqa: BLE001  # raised again where the reply is waited for
            error = caught
        self._items.put(_Ended(error))


def _in_background(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


@contextlib.contextmanager
def _signals(press: Callable[[], None], terminate: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C presses; SIGTERM ends us in order, with the terminal's cursor back, and a second one at once."""

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
def _keys_unseen() -> Iterator[None]:
    """What is typed meanwhile is not shown, for an Enter would move what is drawn; it is there for who reads next."""
    if not _is_our_terminal():
        yield
        return
    import termios  # not everywhere

    before = termios.tcgetattr(sys.stdin)
    unseen = [*before]
    unseen[_LOCAL_MODES] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, unseen)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _is_our_terminal() -> bool:
    """Whether stdin is one, and we do not run in its background, where changing it would stop us."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, AttributeError):
        return False
