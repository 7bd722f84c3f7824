# SPDX-License-Identifier: Apache-2.0
"""Tables and styled text on stdout."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

from s1_client.cli.output import clean


def show(what: RenderableType, *, soft_wrap: bool = False, markup: bool = False) -> None:
    """Draw something of rich's on stdout; nothing in its texts is obeyed, but rich's own ``markup`` if that is wanted. Where
    stdout is no terminal, no line ends with blanks.
    """
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_Clean(what), soft_wrap=soft_wrap, markup=markup)
        return
    with console.capture() as captured:
        console.print(_Clean(what), soft_wrap=soft_wrap, markup=markup)
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="", flush=True)


class _Clean:
    """Something whose text is cleaned when it has been laid out."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For rich."""
        for segment in console.render(self._whole, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)
