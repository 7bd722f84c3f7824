# SPDX-License-Identifier: Apache-2.0
"""Write text to stdout and stderr: escaped for their encoding, and without characters that control a terminal.

Standard library only, because every command imports it.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

# Unicode's categories Cc and Cs except tab and newline, all of Bidi_Control, and invisible characters without width. Zero-width
# (non-)joiners and variation selectors stay: Persian, Indic scripts and emoji need them.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LINE_ENDS = re.compile("[\u2028\u2029]")  # LINE and PARAGRAPH SEPARATOR
_COLUMNS = 80  # width of a terminal that does not report it
_INDENT = "    "  # of continuation lines

_DIM = "\x1b[2m{}\x1b[0m"

_HANDLER = "s1-spelled"
_PYTHONS_OWN = ("strict", "surrogateescape", "backslashreplace")  # in most locales, in locale C, and of stderr
_ESCAPED_BYTES = {chr(0xDC00 + byte) for byte in range(0x80, 0x100)}
_ASCII = {
    **dict.fromkeys("─━╸–−", "-"),
    **dict.fromkeys("├└", "+"),
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
    "…": "...",
    "·": "|",
    "×": "x",
    "≤": "<=",
}  # characters of our own texts

_live_regions: list[Callable[[str], None]] = []  # how to print above each region that is drawn


def clean(text: str) -> str:
    """Return text without characters that control a terminal, turn the direction of writing, or are invisible.

    Tabs and newlines stay.
    """
    return _OBEYED.sub("", _LINE_ENDS.sub("\n", text))


def echo(text: str = "", *, err: bool = False, dim: bool = False) -> None:
    """Print lines; on a terminal they are cleaned, wrapped between words, and optionally dim."""
    file = sys.stderr if err else sys.stdout
    text = fitted(text, file)
    print(_DIM.format(text) if dim and is_alive(file) else text, file=file, flush=True)


def echo_above_live(text: str) -> None:
    """Print lines on stderr, above the live region if one is drawn there."""
    if _live_regions and is_alive(sys.stderr):
        _live_regions[-1](text)
    else:
        echo(text, err=True)


def set_live_region(print_above: Callable[[str], None], *, is_drawn: bool) -> None:
    """Let ``echo_above_live`` print by ``print_above`` from now on, or no longer."""
    (_live_regions.append if is_drawn else _live_regions.remove)(print_above)


def is_alive(file: TextIO) -> bool:
    """Whether the file is a terminal that can redraw lines."""
    return file.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def fitted(text: str, file: TextIO, behind: str = "") -> str:
    """Return text for a file; for a terminal it is cleaned and wrapped, to follow the prefix ``behind`` that click prints."""
    if not file.isatty():
        return text
    width = _width(file)
    lines = clean(behind + text).split("\n")
    whole = "\n".join(line if len(line) <= width else _broken(line, width) for line in lines)
    return whole.removeprefix(behind.rstrip()).removeprefix(" " if behind else "")


def _broken(line: str, width: int) -> str:
    """Wrap a line between words; paths and addresses stay whole, so that they can be copied."""
    breaker = textwrap.TextWrapper(
        width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return breaker.fill(line)


def _width(file: TextIO) -> int:
    try:
        columns = int(os.environ.get("COLUMNS", 0)) or os.get_terminal_size(file.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(columns or _COLUMNS, 2 * len(_INDENT))


def open_missing_streams() -> None:
    """Open /dev/null in place of a stdout or stderr that the caller has closed (``>&-``); Python has None there."""
    if sys.stdout is None:
        discard_stdout()
    if sys.stderr is None:
        sys.stderr = _null()


def discard_stdout() -> None:
    """Write nothing more to stdout, what is in its buffer included."""
    sys.stdout = _null()


def _null() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def let_streams_take_any_text() -> None:
    """Let stdout and stderr escape characters outside their encoding instead of raising UnicodeEncodeError.

    An error handler that the user chose ($PYTHONIOENCODING) stays.
    """
    codecs.register_error(_HANDLER, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _PYTHONS_OWN:
            stream.reconfigure(errors=_HANDLER)


def _spelled(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return b"".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(char: str) -> bytes:
    if char in _ESCAPED_BYTES:  # such as in a file's name
        return char.encode("ascii", "surrogateescape")
    return (_ASCII.get(char) or char).encode("ascii", "backslashreplace")
