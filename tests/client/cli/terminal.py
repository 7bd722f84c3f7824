# SPDX-License-Identifier: Apache-2.0
"""The real ``s1`` on a terminal, and what a person would see on its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pyte

PATIENCE_S = 30.0
# Makes the terminal the program's own, so that Ctrl-C is a signal to it.
_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(next(fd for fd in range(3) if os.isatty(fd)), termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_NOT_OURS = ("COLUMNS", "LINES", "NO_COLOR", "S1_URL")


class Terminal:
    """``s1`` with these arguments; ``streams`` leads stdin, stdout or stderr somewhere else than the terminal."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24, env: dict[str, str] | None = None, **streams: Any) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._emulator = pyte.ByteStream(self._screen)
        self._lock = threading.Condition()
        self.written = b""
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL, sys.executable, "-m", "s1_client", *arguments],
            env={**inherited, "TERM": "xterm-256color", **(env or {})},
            start_new_session=True,
            **{"stdin": theirs, "stdout": theirs, "stderr": theirs, **streams},
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._terminal)

    def _read(self) -> None:
        while True:
            try:
                written = os.read(self._terminal, 65536)
            except OSError:  # the last one has left the terminal
                return
            with self._lock:
                self.written += written
                self._emulator.feed(written)
                self._lock.notify_all()

    def type(self, text: str | bytes) -> None:
        """Press keys."""
        os.write(self._terminal, text if isinstance(text, bytes) else text.encode())

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def rows(self) -> list[str]:
        """What is on the screen, and what has scrolled away before."""
        with self._lock:
            gone = ["".join(row[column].data for column in range(self._screen.columns)) for row in self._screen.history.top]
            return [row.rstrip() for row in [*gone, *self._screen.display]]

    def text(self) -> str:
        return "\n".join(self.rows()).rstrip()

    def last_row(self) -> str:
        return self.text().rpartition("\n")[2]

    def style(self, part: str) -> Any:
        """How the first character of this is drawn: ``fg``, ``bold`` and so on."""
        with self._lock:
            number = next(number for number, row in enumerate(self._screen.display) if part in row)
            return self._screen.buffer[number][self._screen.display[number].index(part)]

    def wait_for(self, happened: str | Callable[[str], bool], patience_s: float = PATIENCE_S) -> str:
        """The text when it has this in it, or fulfils it. Raises TimeoutError."""
        is_there = happened if callable(happened) else (lambda text: happened in text)
        deadline = time.monotonic() + patience_s
        while not is_there(text := self.text()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it did not happen:\n{text}")
            with self._lock:
                self._lock.wait(0.1)
        return text

    def press_ctrl_c_until(self, happened: Callable[[str], bool]) -> None:
        """As a person at a prompt does, who presses it again: Python's readline sees a signal only while it waits for a
        key, not one that comes in the moment before that.
        """
        for _ in range(int(PATIENCE_S)):
            self.press_ctrl_c()
            with contextlib.suppress(TimeoutError):
                self.wait_for(happened, patience_s=1.0)
                return
        raise TimeoutError(f"it did not happen:\n{self.text()}")

    def wait_for_end(self) -> int:
        """Its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code
