# SPDX-License-Identifier: Apache-2.0
"""Show replies: thinking on stderr and the answer on stdout, so that the answer can be piped.

Each of the two is drawn live on a terminal (``live``) and written as plain text elsewhere (``plain``).
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from s1_client import AnswerDelta, AnswerOpened, Done, Event, Injected, Round, RoundEnded, ThinkingDelta
from s1_client.cli.output import is_alive
from s1_client.cli.reply.meter import Meter, ledger_line
from s1_client.cli.reply.plain import PlainAnswer, PlainThinking


class Display(Protocol):
    """Shows replies event by event.

    Attributes:
        refresh_s: interval between calls of ``refresh`` in seconds; None for never.
    """

    refresh_s: float | None

    def show_event(self, event: Event, at: float) -> None:
        """Show an event that arrived at the time ``at`` (of ``time.monotonic``)."""

    def show_message(self, text: str) -> None:
        """Show a line of this program, not of the model, on stderr."""

    def refresh(self) -> None:
        """Draw the rows that change with time."""

    def close(self) -> None:
        """Finish the output, whether or not the reply is complete."""


class Thinking(Protocol):
    """Shows the thinking, and everything else that is printed on stderr."""

    def add_text(self, text: str) -> None:
        """Show more text that the model sampled."""

    def add_injected(self, text: str) -> None:
        """Show text that the server injected."""

    def add_refused_end(self) -> None:
        """Mark an end that was refused without injecting text."""

    def end(self, last: Round | None) -> None:
        """Finish the thinking. ``last`` is its last round, if the server sent any."""

    def add_line(self, text: str, style: str = "") -> None:
        """Print a line that is not the model's."""

    def refresh(self) -> None:
        """Draw the rows that change with time."""

    def close(self) -> None:
        """Finish the output on stderr."""


class Answer(Protocol):
    """Shows the answer on stdout."""

    def begin(self) -> None:
        """Called before the first text of the answer."""

    def add_text(self, text: str) -> None:
        """Show more text of the answer."""

    def end(self) -> None:
        """Finish the answer, complete or cut off."""

    def refresh(self) -> None:
        """Draw the rows that change with time."""


class ReplyDisplay:
    """Shows a single reply, below a header that is printed with the first event."""

    def __init__(self, thinking: Thinking, answer: Answer, meter: Meter, refresh_s: float | None = None, header: str = "") -> None:
        self.refresh_s = refresh_s
        self._header = header
        self._thinking = thinking
        self._answer = answer
        self._meter = meter
        self._last_round: Round | None = None
        self._has_answer = self._is_closed = False

    def show_event(self, event: Event, at: float) -> None:
        self._meter.add(event, at)
        self._show_header()
        match event:
            case ThinkingDelta(text=text):
                self._thinking.add_text(text)
            case Injected(text=text, phase="thinking"):
                self._thinking.add_injected(text)
            case RoundEnded(round=ended):
                self._round_ended(ended)
            case AnswerOpened():
                self._begin_answer()
            case Injected(text=text) | AnswerDelta(text=text):
                self._begin_answer()
                self._answer.add_text(text)
            case Done():
                self._done(event)

    def _show_header(self) -> None:
        if self._header:
            self._thinking.add_line(self._header, "bold")
            self._header = ""

    def _round_ended(self, ended: Round) -> None:
        if not self._has_answer:
            self._last_round = ended
        if ended.refused_for and not ended.injected_ids:
            self._thinking.add_refused_end()

    def _begin_answer(self) -> None:
        if not self._has_answer:
            self._has_answer = True
            self._thinking.end(self._last_round)
            self._answer.begin()

    def _done(self, event: Done) -> None:
        self._begin_answer()
        self.close()
        self._thinking.add_line("")
        self._thinking.add_line(ledger_line(event.result, self._meter.first_token_s or 0.0), "dim")

    def show_message(self, text: str) -> None:
        self._thinking.add_line(f"s1: {text}", "yellow")

    def refresh(self) -> None:
        if not self._is_closed:
            (self._answer if self._has_answer else self._thinking).refresh()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            if self._has_answer:
                self._answer.end()
            self._thinking.close()


class SequentialDisplay:
    """Shows several samples one after the other; events of later samples are queued."""

    def __init__(self, begin: Callable[[int], Display], num_samples: int) -> None:
        self._begin = begin
        self._num_samples = num_samples
        self._queued: defaultdict[int, deque[tuple[Event, float]]] = defaultdict(deque)
        self._index = 0
        self._current = begin(0)
        self.refresh_s = self._current.refresh_s

    def show_event(self, event: Event, at: float) -> None:
        self._queued[event.index].append((event, at))
        while self._queued[self._index]:
            self._show(*self._queued[self._index].popleft())

    def _show(self, event: Event, at: float) -> None:
        self._current.show_event(event, at)
        if isinstance(event, Done) and self._index + 1 < self._num_samples:
            self._index += 1
            self._current = self._begin(self._index)

    def show_message(self, text: str) -> None:
        self._current.show_message(text)

    def refresh(self) -> None:
        self._current.refresh()

    def close(self) -> None:
        self._current.close()


def make_display(options: Mapping[str, Any], started: float, *, hide_thinking: bool = False, header: str = "") -> Display:
    """Return the display of a reply, live or plain depending on whether stdout and stderr are terminals."""
    err_is_alive, out_is_alive = is_alive(sys.stderr), is_alive(sys.stdout)
    meter, refresh_s = Meter(options, started), None
    thinking: Thinking = PlainThinking(sys.stderr, hidden=hide_thinking)
    answer: Answer = PlainAnswer(sys.stdout, header)
    if err_is_alive or out_is_alive:
        from s1_client.cli.reply import live  # importing rich's Markdown takes 0.1 s

        refresh_s = live.REFRESH_S
        region = live.LiveRegion(live.console(sys.stderr if err_is_alive else sys.stdout), meter)
        if err_is_alive:
            thinking = live.LiveThinking(region, hidden=hide_thinking)
            # A pipe may end at this terminal (| cat): stop drawing before the answer is written.
            answer = PlainAnswer(sys.stdout, header, before=region.stop)
        if out_is_alive:
            answer = live.LiveAnswer(region, live.console(sys.stdout), "" if err_is_alive else header)
    return ReplyDisplay(thinking, answer, meter, refresh_s, header if out_is_alive or not hide_thinking else "")
