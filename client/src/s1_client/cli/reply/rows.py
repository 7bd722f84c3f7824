# SPDX-License-Identifier: Apache-2.0
"""Break a model's text into terminal rows while it arrives. Draws nothing.

A row is finished when no further text can change it, so that a display never has to redraw it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import get_character_cell_size
from rich.text import Text

from s1_client.cli.output import clean

_WORD = re.compile("[^ ]+")
_TAB = " " * 4
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"  # VS16 makes the preceding character wide on some terminals
_PICTURES = range(0x1F000, 0x1FB00)  # flags, skin tones and the like: terminals differ in their width
_NEVER_FIRST = "、。，．！？；：）」』】》"  # characters that never start a row


class Rows:
    """Collects pieces of text and breaks them into rows, between words and wide characters."""

    def __init__(self) -> None:
        self._pending = Text()
        self._was_cut = False

    def append(self, text: str, style: str) -> None:
        """Append a piece of text in the given rich style."""
        shown = clean(text).replace("\t", _TAB)
        if self._was_cut and shown:
            shown, self._was_cut = shown.lstrip(" "), False
        self._pending.append(shown, style)

    def pop_finished(self, width: int) -> list[Text]:
        """Remove and return the finished rows, each at most ``width`` cells wide."""
        *lines, last = self._pending.split("\n", allow_blank=True)
        rows = [row for line in lines for row in _broken(line, width)]
        *finished, self._pending = _broken(last, width)
        return [_without_trailing_space(row) for row in rows + finished]

    def pop_all(self, width: int) -> list[Text]:
        """Remove and return all rows, including the unfinished last one."""
        rows = self.pop_finished(width)
        if self._pending:
            rows.append(self.tail)
            self._was_cut = True
        self._pending = Text()
        return rows

    @property
    def tail(self) -> Text:
        """The unfinished row that remains after ``pop_finished``."""
        return _without_trailing_space(self._pending.copy())


def _without_trailing_space(row: Text) -> Text:
    """Strip the spaces at the end, which may reach beyond the last column."""
    row.rstrip()
    return row


def _broken(line: Text, width: int) -> list[Text]:
    """Return the rows of a line; all but the last are finished."""
    breaks = [offset for pair in _breaks(line.plain, width) for offset in pair]
    return list(line.divide(breaks))[::2]  # every second part is the white space at a break


def _breaks(line: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield, for each row but the last, the offset of its end and of the start of the next row."""
    num_cells = end = 0
    for start, stop in _words(line):
        num_spaces, cells = start - end, sum(map(_cells, line[start:stop]))
        if num_cells + num_spaces + cells <= width:
            num_cells += num_spaces + cells
        else:
            if num_cells:
                yield end, start
            num_cells = 0 if num_cells else num_spaces
            for index in range(start, stop):
                if num_cells and num_cells + _cells(line[index]) > width:
                    yield index, index
                    num_cells = 0
                num_cells += _cells(line[index])
        end = stop


def _words(line: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the unbreakable parts: words, and single wide characters."""
    for word in _WORD.finditer(line):
        start, stop = word.span()
        for index in range(start + 1, stop) if not word.group().isascii() else ():
            if _may_break(line[index - 1], line[index]):
                yield start, index
                start = index
        yield start, stop


def _may_break(before: str, after: str) -> bool:
    is_wide = _cells(before) == 2 or _cells(after) == 2
    return is_wide and _cells(after) > 0 and before != _JOINER and after not in _NEVER_FIRST


def _cells(char: str) -> int:
    """Return the width of a character, rather too wide: a row that is too wide for the terminal would become two."""
    if ord(char) in _PICTURES:
        return 2
    return 1 if char == _EMOJI_STYLE else get_character_cell_size(char)
