# SPDX-License-Identifier: Apache-2.0
"""A reply on a terminal: what is finished scrolls away and is never drawn again, so that long thoughts cost no more
than short ones; below it a few rows that change: the unfinished one, or the end of the answer, and the budget.
"""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.rule import Rule
from rich.segment import ControlType, Segment
from rich.text import Text

from s1_client import Round
from s1_client.cli.output import clean
from s1_client.cli.reply.markdown import LastRows, ModelMarkdown, last_part
from s1_client.cli.reply.meter import Meter
from s1_client.cli.reply.rows import Rows

REFRESH_S = 1 / 12
THOUGHT, MARK, BAR = "dim", "bold yellow", "cyan"
_GAUGE_CELLS = 20
_ECHO_CELLS = 4  # kept free behind the bar: a terminal shows "^C" there
_WRAP_OFF, _WRAP_ON = (Segment(f"\x1b[?7{switch}", None, [(ControlType.HOME,)]) for switch in "lh")  # DECAWM; rich has no name for it
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REFUSED = "[end refused]"
_NATURAL = "thinking ended by itself"
_ENDS = {
    "budget": "thinking cut: the budget is spent",
    "boundary": "thinking cut: the budget is spent",
    "grace": "thinking cut: the budget is spent",
    "answer_now": "thinking cut: answer now",
    "deadline": "thinking cut: the time is up",
    "length": "thinking cut: no room for more",
}


def console(file: TextIO) -> Console:
    """Where nothing in a text is taken for a command of rich's."""
    return Console(file=file, markup=False, emoji=False, highlight=False)


class Region:
    """The rows at the bottom that are drawn again and again: what changes, and the bar."""

    def __init__(self, console: Console, meter: Meter) -> None:
        self.console = console
        self._body: RenderableType = ""
        self.meter = meter
        self._live: Live | None = None

    def start(self) -> None:
        """Begin to draw."""
        if self._live is None:
            self._live = Live(
                console=self.console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                get_renderable=self._drawn,
            )
            self._live.start()

    def stop(self) -> None:
        """Wipe it out."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def draw(self, body: RenderableType, above: RenderableType | None = None) -> None:
        """Draw, and print what is finished ``above``; in one write, so that nothing flickers."""
        self._body = body
        with self.console:
            if above is not None:
                self.console.print(above)
            if self._live is not None:
                self._live.refresh()

    def _drawn(self) -> RenderableType:
        bar = budget_bar(self.meter, time.monotonic(), self.console.width - _ECHO_CELLS)
        return _Clipped(Group(self._body, bar) if self._body else bar)


class _Clipped:
    """Rows that a terminal cuts off where it finds them too wide, so that their number is certain."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For rich."""
        yield _WRAP_OFF
        for number, row in enumerate(console.render_lines(self._whole, options, pad=False)):
            if number:
                yield Segment.line()
            yield from row
        yield _WRAP_ON


def budget_bar(meter: Meter, now: float, width: int) -> Text:
    """The line of figures, behind a gauge if there is a budget and room for one."""
    share = meter.share()
    if share is None:
        spinner = _SPINNER[int(now / REFRESH_S) % len(_SPINNER)]
        return Text.assemble((f"{spinner} ", BAR), (meter.line(now, width - 2), BAR))
    line = meter.line(now, width)
    if len(line) + 1 + _GAUGE_CELLS > width:
        return Text(line, BAR)
    return Text.assemble(*_gauge(share), (f" {line}", BAR))


def _gauge(share: float) -> tuple[tuple[str, str], tuple[str, str]]:
    num_full, half = divmod(int(share * _GAUGE_CELLS * 2), 2)
    full = "━" * num_full + "╸" * half
    return (full, BAR), ("─" * (_GAUGE_CELLS - len(full)), "dim")


class LiveThinking:
    """Thinking as it comes, dim, with marks where it was steered."""

    def __init__(self, region: Region, *, hidden: bool) -> None:
        self._region = region
        self._hidden = hidden
        self._rows = Rows()
        region.start()

    def add(self, text: str) -> None:
        """See Thinking."""
        self._add(text, THOUGHT)

    def inject(self, text: str) -> None:
        """See Thinking."""
        words = text.strip() or _REFUSED[1:-1]
        before, _, behind = text.partition(words)
        self._add(before, THOUGHT)
        self._add(f"[{words}]", MARK)
        self._add(behind, THOUGHT)

    def refused(self) -> None:
        """See Thinking."""
        self._add(_REFUSED, MARK)

    def _add(self, text: str, style: str) -> None:
        if not self._hidden:
            self._rows.add(text, style)

    def end(self, last: Round | None) -> None:
        """See Thinking."""
        self._break_row()
        if last is not None and not self._hidden:
            cut = _ENDS.get(last.ended_by)
            self._region.draw("", above=Rule(Text(cut or _NATURAL, MARK if cut else THOUGHT), align="left", style=THOUGHT))

    def line(self, text: str, style: str = "") -> None:
        """See Thinking."""
        self._break_row()
        self._region.draw("", above=Text(clean(text), style))

    def refresh(self) -> None:
        """See Thinking."""
        self._draw(self._rows.take(self._region.console.width), self._rows.tail)

    def close(self) -> None:
        """See Thinking."""
        self._break_row()
        self._region.stop()

    def _break_row(self) -> None:
        self._draw(self._rows.take_all(self._region.console.width), Text())

    def _draw(self, finished: list[Text], tail: Text) -> None:
        self._region.draw(tail, above=Text("\n").join(finished) if finished else None)


class LiveAnswer:
    """The end of the answer as it comes, and all of it when it is there."""

    def __init__(self, region: Region, out: Console, header: str = "") -> None:
        self._region = region
        self._out = out
        self._header = header
        self._text = ""
        self._begun = False

    def begin(self) -> None:
        """See Answer."""
        self._begun = True
        self._region.start()

    def add(self, text: str) -> None:
        """See Answer."""
        self._text += text

    def refresh(self) -> None:
        """See Answer."""
        if self._begun:
            console = self._region.console
            shown = last_part(self._text, console.width * console.height)
            self._region.draw(LastRows(ModelMarkdown(shown), max(console.height - 3, 1)))

    def end(self) -> None:
        """See Answer."""
        self._region.stop()
        if self._header:
            self._out.print(Text(self._header, "bold"))
        self._out.print(ModelMarkdown(self._text))
