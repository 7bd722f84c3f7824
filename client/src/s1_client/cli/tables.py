# SPDX-License-Identifier: Apache-2.0
"""Tables and styled text on stdout, and the figures in their cells."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

from s1_client.cli.output import clean

_NONE = "–"


def show(content: RenderableType, *, soft_wrap: bool = False, markup: bool = False) -> None:
    """Print a table or text of rich's on stdout, cleaned of control characters. ``markup`` allows rich's own tags.

    Where stdout is no terminal, trailing blanks of lines are removed.
    """
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_Clean(content), soft_wrap=soft_wrap, markup=markup)
        return
    with console.capture() as captured:
        console.print(_Clean(content), soft_wrap=soft_wrap, markup=markup)
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="", flush=True)


def percent(share: float | None) -> str:
    """Return a share (0 to 1) in whole percent; a dash for None."""
    return _NONE if share is None else f"{100 * share:.0f}"


def number(value: float | None, form: str) -> str:
    """Return a number in a format such as ``.1f``; a dash for None."""
    return _NONE if value is None else format(value, form)


class _Clean:
    """Content whose text is cleaned after rich has laid it out."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)
