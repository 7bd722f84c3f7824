# SPDX-License-Identifier: Apache-2.0
"""What is written to stdout and stderr: text that their encoding can hold, and that a terminal shows and does not obey.

Standard library only: every command needs it.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import textwrap
from typing import TextIO

# Unicode's categories Cc and Cs but for tab and newline; all of Bidi_Control; what has no width and is there to be unseen. Left are
# the zero-width (non-)joiner and the variation selectors, which Persian, Indic scripts and emoji need.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LINE_ENDS = re.compile("[\u2028\u2029]")  # LINE and PARAGRAPH SEPARATOR
_COLUMNS = 80  # of a terminal that does not tell
_INDENT = "    "  # of what continues a line

_DIM = "\x1b[2m{}\x1b[0m"

_HANDLER = "s1-spelled"
_PYTHONS_OWN = ("strict", "surrogateescape", "backslashreplace")  # in most locales, in C, and of stderr
_ESCAPED_BYTES = {chr(0xDC00 + byte) for byte in range(0x80, 0x100)}
_ASCII = {
    **dict.fromkeys("─━╸–−", "-"),
    **dict.fromkeys("├└", "+"),
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
    "…": "...",
    "·": "|",
    "×": "x",
    "≤": "<=",
}  # of what we write ourselves


def clean(text: str) -> str:
    """Text that a terminal shows and does not obey: without control characters but for tabs and newlines, without those
    that turn the direction of writing, and without those that nobody sees.
    """
    return _OBEYED.sub("", _LINE_ENDS.sub("\n", text))


def echo(text: str = "", *, err: bool = False, dim: bool = False) -> None:
    """Write lines; on a terminal clean, broken between words, and perhaps dim."""
    file = sys.stderr if err else sys.stdout
    text = fitted(text, file)
    print(_DIM.format(text) if dim and is_alive(file) else text, file=file, flush=True)


def is_alive(file: TextIO) -> bool:
    """Whether it is a terminal that can draw."""
    return file.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def fitted(text: str, file: TextIO, behind: str = "") -> str:
    """Text for a file, ``behind`` what somebody else writes there; for a terminal it is clean, and broken between words."""
    if not file.isatty():
        return text
    width = _width(file)
    lines = clean(behind + text).split("\n")
    whole = "\n".join(line if len(line) <= width else _broken(line, width) for line in lines)
    return whole.removeprefix(behind.rstrip()).removeprefix(" " if behind else "")


def _broken(line: str, width: int) -> str:
    """Paths and addresses stay whole: they are copied."""
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


def let_streams_take_any_text() -> None:
    """Make stdout and stderr spell what their encoding does not hold, in ASCII or as Python's escapes, instead of
    raising UnicodeEncodeError. Other handlers than Python's own ($PYTHONIOENCODING) stay.
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
    if char in _ESCAPED_BYTES:  # of a file's name, say
        return char.encode("ascii", "surrogateescape")
    return (_ASCII.get(char) or char).encode("ascii", "backslashreplace")
