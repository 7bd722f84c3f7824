# SPDX-License-Identifier: Apache-2.0
"""Read lines from a terminal, with editing and history, or from a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

PROMPT = "> "
_HISTORY_LINES = 1000
_BOM = "\ufeff"


def read_lines(words: Sequence[str]) -> Iterator[str]:
    """Yield lines without their line breaks; Tab completes ``words``. At a prompt Ctrl-C clears the line."""
    if not sys.stdin.isatty():
        yield from _piped()
        return
    with _editing(words):
        while True:
            try:
                line = _prompted()
                line.encode()  # in the C locale Python passes undecodable bytes as surrogates
            except EOFError:
                print(file=sys.stderr)
                return
            except KeyboardInterrupt:
                print(file=sys.stderr)
            except UnicodeError:
                print("s1: the line is not UTF-8", file=sys.stderr)
            else:
                yield line


def _piped() -> Iterator[str]:
    """Yield lines of UTF-8. Raises click.UsageError for a line in another encoding."""
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise click.UsageError(f"stdin:{number}: not UTF-8: byte {raw[error.start]:#04x} at {error.start + 1}") from None
        yield (line.removeprefix(_BOM) if number == 1 else line).rstrip("\r\n")


def _prompted() -> str:
    if sys.stdout.isatty():
        return input(PROMPT)
    print(PROMPT, end="", file=sys.stderr, flush=True)  # stdout is reserved for answers
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")


@contextlib.contextmanager
def _editing(words: Sequence[str]) -> Iterator[None]:
    """Switch on key bindings, completion and the history of earlier chats, if Python has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    history = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(_HISTORY_LINES)
    readline.set_completer(lambda start, number: next(iter([f"{word} " for word in words if word.startswith(start)][number:]), None))
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            history.touch(mode=0o600)
            readline.write_history_file(history)


def history_file() -> Path:
    """Return the path of the chat history in the XDG state folder."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "s1" / "chat_history"
