# SPDX-License-Identifier: Apache-2.0
"""Render a model's Markdown on a terminal: everything it wrote is visible, and no control sequence takes effect."""

from __future__ import annotations

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Markdown
from rich.segment import Segment

from s1_client.cli.output import clean

# Without syntax that would be invisible: rich drops HTML, and "[1]: 5" would be parsed as a link target.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")
_FENCE = "\n```"


class ModelMarkdown(Markdown):
    """Markdown that keeps line breaks, shows HTML as text and links with their addresses."""

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.parsed = _PARSER.parse(clean(text))
        for token in _all(self.parsed):
            token.content = clean(token.content)  # the parser decodes "%1B" in a link
            if token.type == "softbreak":
                token.type = "hardbreak"
            elif token.type in ("link_open", "link_close") and token.info == "auto":
                token.type = "text"  # a bare address is its own target


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


class LastRows:
    """The last ``num_rows`` rows of a renderable."""

    def __init__(self, whole: RenderableType, num_rows: int) -> None:
        self._whole = whole
        self._num_rows = num_rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = console.render_lines(self._whole, options.update(height=None), pad=False)
        for row in rows[-self._num_rows :]:
            yield from row
            yield Segment.line()


def last_part(text: str, num_chars: int) -> str:
    """Return the end of a long text, long enough that its last rows equal those of the whole text.

    It starts at a blank line or line break, if there is one nearby.
    """
    latest = len(text) - num_chars
    if latest <= 0:
        return text
    middle = latest - latest % num_chars  # constant while the text grows, so that visible rows do not move
    cut = next((found for stop in ("\n\n", "\n") if (found := text.rfind(stop, max(latest - num_chars, 0), latest)) >= 0), middle)
    is_in_code = f"\n{text[:cut]}".count(_FENCE) % 2
    return f"```{text[cut:]}" if is_in_code else text[cut:]
