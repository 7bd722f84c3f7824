# SPDX-License-Identifier: Apache-2.0
"""A reply as it is shown: thinking to stderr, the answer to stdout, so that pipes work.

Either is alive on a terminal (``live``) and plain text elsewhere (``plain``).
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from s1_client import AnswerDelta, AnswerOpened, Done, Event, Injected, Round, RoundEnded, ThinkingDelta
from s1_client.cli.output import is_alive
from s1_client.cli.reply.meter import Meter, account
from s1_client.cli.reply.plain import PlainAnswer, PlainThinking


class Display(Protocol):
    """What shows replies.

    Attributes:
        refresh_s: how often it is to be refreshed; None = never.
    """

    refresh_s: float | None

    def add(self, event: Event, at: float) -> None:
        """Show an event that came at that time (of ``time.monotonic``)."""

    def tell(self, text: str) -> None:
        """A line that is not the model's, on stderr."""

    def refresh(self) -> None:
        """Draw what moves."""

    def close(self) -> None:
        """Nothing follows, whether the reply has an end or not."""


class Thinking(Protocol):
    """What shows the thinking, and what else stderr gets."""

    def add(self, text: str) -> None:
        """More of it."""

    def inject(self, text: str) -> None:
        """What the server put in."""

    def refused(self) -> None:
        """An end was refused, and nothing put in."""

    def end(self, last: Round | None) -> None:
        """The answer begins. ``last`` is the last round of the thinking, if the server told of one."""

    def line(self, text: str, style: str = "") -> None:
        """A line that is not the model's."""

    def refresh(self) -> None:
        """Draw what moves."""

    def close(self) -> None:
        """Nothing follows."""


class Answer(Protocol):
    """What shows the answer."""

    def begin(self) -> None:
        """It begins."""

    def add(self, text: str) -> None:
        """More of it."""

    def end(self) -> None:
        """That was all, of a whole one or of one that was cut off."""

    def refresh(self) -> None:
        """Draw what moves."""


class ReplyDisplay:
    """One reply, under a header as soon as there is something of it."""

    def __init__(self, thinking: Thinking, answer: Answer, meter: Meter, refresh_s: float | None = None, header: str = "") -> None:
        self.refresh_s = refresh_s
        self._header = header
        self._thinking = thinking
        self._answer = answer
        self._meter = meter
        self._last_round: Round | None = None
        self._answers = self._is_over = False

    def add(self, event: Event, at: float) -> None:
        """See Display."""
        self._meter.add(event, at)
        self._show_header()
        match event:
            case ThinkingDelta(text=text):
                self._thinking.add(text)
            case Injected(text=text, phase="thinking"):
                self._thinking.inject(text)
            case RoundEnded(round=ended):
                self._round_ended(ended)
            case AnswerOpened():
                self._begin_answer()
            case Injected(text=text) | AnswerDelta(text=text):
                self._begin_answer()
                self._answer.add(text)
            case Done():
                self._done(event)

    def _show_header(self) -> None:
        if self._header:
            self._thinking.line(self._header, "bold")
            self._header = ""

    def _round_ended(self, ended: Round) -> None:
        if not self._answers:
            self._last_round = ended
        if ended.refused_for and not ended.injected_ids:
            self._thinking.refused()

    def _begin_answer(self) -> None:
        if not self._answers:
            self._answers = True
            self._thinking.end(self._last_round)
            self._answer.begin()

    def _done(self, event: Done) -> None:
        self._begin_answer()
        self.close()
        self._thinking.line("")
        self._thinking.line(account(event.result, self._meter.first_token_s or 0.0), "dim")

    def tell(self, text: str) -> None:
        """See Display."""
        self._thinking.line(f"s1: {text}", "yellow")

    def refresh(self) -> None:
        """See Display."""
        if not self._is_over:
            (self._answer if self._answers else self._thinking).refresh()

    def close(self) -> None:
        """See Display."""
        if not self._is_over:
            self._is_over = True
            if self._answers:
                self._answer.end()
            self._thinking.close()


class InTurn:
    """Samples one after the other: what comes of a later one waits for its turn."""

    def __init__(self, begin: Callable[[int], Display], num_samples: int) -> None:
        self._begin = begin
        self._num_samples = num_samples
        self._waiting: defaultdict[int, deque[tuple[Event, float]]] = defaultdict(deque)
        self._index = 0
        self._shown = begin(0)
        self.refresh_s = self._shown.refresh_s

    def add(self, event: Event, at: float) -> None:
        """See Display."""
        self._waiting[event.index].append((event, at))
        while self._waiting[self._index]:
            self._show(*self._waiting[self._index].popleft())

    def _show(self, event: Event, at: float) -> None:
        self._shown.add(event, at)
        if isinstance(event, Done) and self._index + 1 < self._num_samples:
            self._index += 1
            self._shown = self._begin(self._index)

    def tell(self, text: str) -> None:
        """See Display."""
        self._shown.tell(text)

    def refresh(self) -> None:
        """See Display."""
        self._shown.refresh()

    def close(self) -> None:
        """See Display."""
        self._shown.close()


def make_display(options: Mapping[str, Any], started: float, *, hide_thinking: bool = False, header: str = "") -> Display:
    """The display of a reply to a request with these options, for what stdout and stderr are."""
    err_is_alive, out_is_alive = is_alive(sys.stderr), is_alive(sys.stdout)
    meter, refresh_s = Meter(options, started), None
    thinking: Thinking = PlainThinking(sys.stderr, hidden=hide_thinking)
    answer: Answer = PlainAnswer(sys.stdout, header)
    if err_is_alive or out_is_alive:
        from s1_client.cli.reply import live  # rich's Markdown takes a tenth of a second

        refresh_s = live.REFRESH_S
        region = live.Region(live.console(sys.stderr if err_is_alive else sys.stdout), meter)
        if err_is_alive:
            thinking = live.LiveThinking(region, hidden=hide_thinking)
            # Stdout may lead back to this terminal (| cat): nothing is drawn while it is written.
            answer = PlainAnswer(sys.stdout, header, before=region.stop)
        if out_is_alive:
            answer = live.LiveAnswer(region, live.console(sys.stdout), "" if err_is_alive else header)
    return ReplyDisplay(thinking, answer, meter, refresh_s, header if out_is_alive or not hide_thinking else "")
