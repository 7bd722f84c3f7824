# SPDX-License-Identifier: Apache-2.0
"""Draw a reply on a terminal. Finished rows scroll away and are never drawn again, so that the cost of a row does not grow
with the length of the thinking. Below them a few rows are redrawn: the unfinished row, or the end of the answer, and the budget.
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
from s1_client.cli.output import clean, set_live_region
from s1_client.cli.reply.markdown import LastRows, ModelMarkdown, last_part
from s1_client.cli.reply.meter import Meter
from s1_client.cli.reply.rows import Rows

REFRESH_S = 1 / 12
THOUGHT, MARK, BAR = "dim", "bold yellow", "cyan"
_GAUGE_CELLS = 20
_ECHO_CELLS = 4  # kept free at the end of the bar, where a terminal echoes "^C"
_WRAP_OFF, _WRAP_ON = (Segment(f"\x1b[?7{switch}", None, [(ControlType.HOME,)]) for switch in "lh")  # DECAWM; rich has no name for it
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REFUSED = "[end refused]"
_NATURAL = "thinking ended by itself"
_ENDS = {
    "budget": "thinking cut: the budget is spent",
    "boundary": "thinking cut: the budget is spent",
    "grace": "thinking cut: the budget is spent",
    "answer_now": "thinking cut: answer now",
    "deadline": "thinking cut: the deadline has passed",
    "length": "thinking cut: the context is full",
}


def console(file: TextIO) -> Console:
    """Return a rich console that interprets no markup in texts."""
    return Console(file=file, markup=False, emoji=False, highlight=False)


class LiveRegion:
    """The rows at the bottom of the terminal that are redrawn: unfinished text and the budget bar."""

    def __init__(self, console: Console, meter: Meter) -> None:
        self.console = console
        self._body: RenderableType = ""
        self.meter = meter
        self._live: Live | None = None

    def start(self) -> None:
        """Start drawing the region on the terminal."""
        if self._live is None:
            self._live = Live(
                console=self.console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                get_renderable=self._renderable,
            )
            self._live.start()
            set_live_region(self._print_above, is_drawn=True)

    def stop(self) -> None:
        """Erase the region and stop drawing."""
        if self._live is not None:
            set_live_region(self._print_above, is_drawn=False)
            self._live.stop()
            self._live = None

    def update(self, body: RenderableType, above: RenderableType | None = None) -> None:
        """Redraw the region with ``body`` and print the finished rows ``above``, in a single write to avoid flicker."""
        self._body = body
        with self.console:
            if above is not None:
                self.console.print(above)
            if self._live is not None:
                self._live.refresh()

    def _print_above(self, text: str) -> None:
        self.console.print(Text(clean(text)))

    def _renderable(self) -> RenderableType:
        bar = budget_bar(self.meter, time.monotonic(), self.console.width - _ECHO_CELLS)
        return _Clipped(Group(self._body, bar) if self._body else bar)


class _Clipped:
    """Rows with the terminal's line wrapping switched off, so that a row that is too wide still takes a single row."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _WRAP_OFF
        for number, row in enumerate(console.render_lines(self._whole, options, pad=False)):
            if number:
                yield Segment.line()
            yield from row
        yield _WRAP_ON


def budget_bar(meter: Meter, now: float, width: int) -> Text:
    """Return the line of figures, after a gauge if there is a budget and enough width."""
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
    """Draws the thinking as it arrives, dimmed, with injected text and refused ends marked."""

    def __init__(self, region: LiveRegion, *, hidden: bool) -> None:
        self._region = region
        self._hidden = hidden
        self._rows = Rows()
        region.start()

    def add_text(self, text: str) -> None:
        self._add(text, THOUGHT)

    def add_injected(self, text: str) -> None:
        words = text.strip() or _REFUSED[1:-1]
        before, _, after = text.partition(words)
        self._add(before, THOUGHT)
        self._add(f"[{words}]", MARK)
        self._add(after, THOUGHT)

    def add_refused_end(self) -> None:
        self._add(_REFUSED, MARK)

    def _add(self, text: str, style: str) -> None:
        if not self._hidden:
            self._rows.append(text, style)

    def end(self, last: Round | None) -> None:
        self._break_row()
        if last is not None and not self._hidden:
            cut = _ENDS.get(last.ended_by)
            self._region.update("", above=Rule(Text(cut or _NATURAL, MARK if cut else THOUGHT), align="left", style=THOUGHT))

    def add_line(self, text: str, style: str = "") -> None:
        self._break_row()
        self._region.update("", above=Text(clean(text), style))

    def refresh(self) -> None:
        self._draw(self._rows.pop_finished(self._region.console.width), self._rows.tail)

    def close(self) -> None:
        self._break_row()
        self._region.stop()

    def _break_row(self) -> None:
        self._draw(self._rows.pop_all(self._region.console.width), Text())

    def _draw(self, finished: list[Text], tail: Text) -> None:
        self._region.update(tail, above=Text("\n").join(finished) if finished else None)


class LiveAnswer:
    """Draws the end of the answer while it arrives, and prints the whole answer at its end."""

    def __init__(self, region: LiveRegion, out: Console, header: str = "") -> None:
        self._region = region
        self._out = out
        self._header = header
        self._text = ""
        self._begun = False

    def begin(self) -> None:
        self._begun = True
        self._region.start()

    def add_text(self, text: str) -> None:
        self._text += text

    def refresh(self) -> None:
        if self._begun:
            console = self._region.console
            shown = last_part(self._text, console.width * console.height)
            self._region.update(LastRows(ModelMarkdown(shown), max(console.height - 3, 1)))

    def end(self) -> None:
        self._region.stop()
        if self._header:
            self._out.print(Text(self._header, "bold"))
        self._out.print(ModelMarkdown(self._text))
