# SPDX-License-Identifier: Apache-2.0
"""Write replies to files and pipes: as plain text with injected text in [brackets], or as events in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TextIO

from s1_client import Event, Injected, Round, ThinkingDelta
from s1_client.cli.output import clean


class Writer:
    """A text file that knows whether it is at the start of a line. A terminal gets no control characters."""

    def __init__(self, file: TextIO) -> None:
        self.is_empty = self.is_at_start = True
        self._file = file
        self._is_terminal = file.isatty()

    def write(self, text: str) -> None:
        """Write the text and flush it."""
        if text:
            self.is_empty, self.is_at_start = False, text.endswith("\n")
            self._file.write(clean(text) if self._is_terminal else text)
            self._file.flush()

    def write_line(self, text: str) -> None:
        """Write the text as a line of its own, after a line break if needed."""
        self.write(f"{text}\n" if self.is_at_start else f"\n{text}\n")


class PlainThinking:
    """Writes the thinking as plain text."""

    def __init__(self, err: TextIO, *, hidden: bool) -> None:
        self._err = Writer(err)
        self._hidden = hidden

    def add_text(self, text: str) -> None:
        if not self._hidden:
            self._err.write(text)

    def add_injected(self, text: str) -> None:
        self.add_text(f"[{text}]")

    def add_refused_end(self) -> None:
        """Write nothing: plain output contains only text."""

    def end(self, last: Round | None) -> None:  # noqa: ARG002  # the final line names the reason
        if not self._err.is_empty:
            self._err.write("\n\n")

    def add_line(self, text: str, style: str = "") -> None:  # noqa: ARG002  # plain text has no style
        self._err.write_line(text)

    def refresh(self) -> None:
        """Do nothing: plain output does not change."""

    def close(self) -> None:
        if not self._err.is_at_start:
            self._err.write("\n")


class PlainAnswer:
    """Writes the answer as plain text, below an optional header; ``before`` is called first."""

    def __init__(self, out: TextIO, header: str = "", before: Callable[[], None] = lambda: None) -> None:
        self._out = Writer(out)
        self._header = header
        self._before = before

    def begin(self) -> None:
        self._before()
        if self._header:
            self._out.write_line(self._header)

    def add_text(self, text: str) -> None:
        self._out.write(text)

    def end(self) -> None:
        self._out.write("\n")

    def refresh(self) -> None:
        """Do nothing: plain output does not change."""


class JsonLines:
    """Writes each event as a line of JSON; nothing else goes to stdout."""

    refresh_s: float | None = None

    def __init__(self, out: TextIO, err: TextIO, *, hide_thinking: bool) -> None:
        self._out, self._err = Writer(out), Writer(err)
        self._hide_thinking = hide_thinking

    def show_event(self, event: Event, at: float) -> None:  # noqa: ARG002  # events have no times
        is_thinking = isinstance(event, ThinkingDelta) or (isinstance(event, Injected) and event.phase == "thinking")
        if not (is_thinking and self._hide_thinking):
            self._out.write_line(json.dumps(event.to_dict()))

    def show_message(self, text: str) -> None:
        self._err.write_line(f"s1: {text}")

    def refresh(self) -> None:
        """Do nothing: plain output does not change."""

    def close(self) -> None:
        """Do nothing: every line is already written."""
