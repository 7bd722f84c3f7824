# SPDX-License-Identifier: Apache-2.0
"""Replies in files and pipes: the text as it is, injected text in [brackets]; or events as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TextIO

from s1_client import Event, Injected, Round, ThinkingDelta
from s1_client.cli.output import clean


class Writer:
    """A file that knows where it stands. If it is a terminal after all, it gets no control characters."""

    def __init__(self, file: TextIO) -> None:
        self.is_empty = self.is_at_start = True
        self._file = file
        self._is_terminal = file.isatty()

    def write(self, text: str) -> None:
        """Write it at once."""
        if text:
            self.is_empty, self.is_at_start = False, text.endswith("\n")
            self._file.write(clean(text) if self._is_terminal else text)
            self._file.flush()

    def line(self, text: str) -> None:
        """A line of its own."""
        self.write(f"{text}\n" if self.is_at_start else f"\n{text}\n")


class PlainThinking:
    """Thinking as text."""

    def __init__(self, err: TextIO, *, hidden: bool) -> None:
        self._err = Writer(err)
        self._hidden = hidden

    def add(self, text: str) -> None:
        """See Thinking."""
        if not self._hidden:
            self._err.write(text)

    def inject(self, text: str) -> None:
        """See Thinking."""
        self.add(f"[{text}]")

    def refused(self) -> None:
        """Text only."""

    def end(self, last: Round | None) -> None:  # noqa: ARG002  # the account tells
        """See Thinking."""
        if not self._err.is_empty:
            self._err.write("\n\n")

    def line(self, text: str, style: str = "") -> None:  # noqa: ARG002  # there is none
        """See Thinking."""
        self._err.line(text)

    def refresh(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """See Thinking."""
        if not self._err.is_at_start:
            self._err.write("\n")


class PlainAnswer:
    """The answer as text, perhaps under a header."""

    def __init__(self, out: TextIO, header: str = "", before: Callable[[], None] = lambda: None) -> None:
        self._out = Writer(out)
        self._header = header
        self._before = before

    def begin(self) -> None:
        """See Answer."""
        self._before()
        if self._header:
            self._out.line(self._header)

    def add(self, text: str) -> None:
        """See Answer."""
        self._out.write(text)

    def end(self) -> None:
        """See Answer."""
        self._out.write("\n")

    def refresh(self) -> None:
        """Nothing moves."""


class JsonLines:
    """Events as JSON, one a line; nothing else on stdout."""

    refresh_s: float | None = None

    def __init__(self, out: TextIO, err: TextIO, *, hide_thinking: bool) -> None:
        self._out, self._err = Writer(out), Writer(err)
        self._hide_thinking = hide_thinking

    def add(self, event: Event, at: float) -> None:  # noqa: ARG002  # no times
        """See Display."""
        is_thought = isinstance(event, ThinkingDelta) or (isinstance(event, Injected) and event.phase == "thinking")
        if not (is_thought and self._hide_thinking):
            self._out.line(json.dumps(event.to_dict()))

    def tell(self, text: str) -> None:
        """See Display."""
        self._err.line(f"s1: {text}")

    def refresh(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing is left."""
