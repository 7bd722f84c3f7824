# SPDX-License-Identifier: Apache-2.0
"""Draws the README's picture of ``s1 ask`` from a recording of a real run, and makes that recording.

    python tests/contract/picture.py           # docs/images/ask.cast -> docs/images/ask.svg
    python tests/contract/picture.py record    # start a server, run the command on a terminal, then draw

The recording is an asciicast (version 2), which asciinema plays as well.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import pyte

ROOT = Path(__file__).resolve().parents[2]
RECORDING, PICTURE = ROOT / "docs/images/ask.cast", ROOT / "docs/images/ask.svg"
COMMAND = ("ask", "How many r in raspberry", "--num-ignore", "1")
COLUMNS, ROWS = 84, 40
CHAR_WIDTH, LINE_HEIGHT, MARGIN, BAR_HEIGHT = 8.4, 19, 18, 34
COLOURS = {"default": "#d8dee9", "yellow": "#ebcb8b", "brown": "#ebcb8b", "red": "#e88388", "green": "#a3be8c", "cyan": "#88c0d0"}
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
DIM, BACKGROUND, BAR, MARK = "#8a94a6", "#1e222a", "#2b303b", "#bf616a"
REFUSED_END = "[Wait]"  # the ignore string, as the command shows injected text
LEGEND = "a refused end: the model stopped thinking here; the server put the ignore string in its place"


def record() -> None:
    """Start a server on free ports, and this file again with its address in the environment."""
    ports = [flag for name in ("http", "grpc", "metrics") for flag in (f"--{name}-port", "0")]
    launcher = [sys.executable, "-m", "budgetforce.launcher", *ports, "--", sys.executable, __file__, "run"]
    subprocess.run(launcher, cwd=ROOT, check=True)


def run() -> None:
    """Run the command on a terminal of its own, and save what it writes, with the times."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen([sys.executable, "-m", "s1_client", *COMMAND], env={**environment, "TERM": "xterm-256color"}, **streams)
    os.close(theirs)
    written = list(_read(terminal))
    if process.wait():
        sys.exit(f"the command ended with code {process.returncode}")
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "command": command_line(), "timestamp": int(time.time())}
    RECORDING.write_text("".join(f"{json.dumps(line)}\n" for line in [header, *written]))


def _read(terminal: int) -> Any:
    started = time.monotonic()
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the program has left the terminal
            return
        yield [round(time.monotonic() - started, 3), "o", data.decode(errors="replace")]


def command_line() -> str:
    """The command as a reader would type it."""
    return " ".join(["s1", *(f'"{word}"' if " " in word else word for word in COMMAND)])


def screen() -> tuple[str, list[list[Any]]]:
    """The recorded command, and the rows of characters that are on the terminal in the end."""
    header, *events = map(json.loads, RECORDING.read_text().splitlines())
    terminal = pyte.HistoryScreen(header["width"], header["height"], history=1000)
    stream = pyte.Stream(terminal)
    for _, _, data in events:
        stream.feed(_with_dim(data))
    rows = [[row[column] for column in range(header["width"])] for row in [*terminal.history.top, *terminal.buffer.values()]]
    numbers = [n for n, row in enumerate(rows) if _text(row)]
    return header["command"], rows[: max(numbers) + 1]


def text() -> str:
    """What the recording shows, without colours."""
    _, rows = screen()
    return "\n".join(_text(row) for row in rows)


def _with_dim(data: str) -> str:
    """pyte forgets "faint" (2); it keeps "blink" (5), which nothing else here uses."""
    return data.replace("\x1b[2m", "\x1b[5m").replace("\x1b[2;", "\x1b[5;")


def _text(row: list[Any]) -> str:
    return "".join(char.data for char in row).rstrip()


def svg() -> str:
    """The picture."""
    command, rows = screen()
    width = COLUMNS * CHAR_WIDTH + 2 * MARGIN
    lines = [f'<tspan fill="{COLOURS["green"]}">$</tspan> {html.escape(command)}', *(_spans(row) for row in rows)]
    height = BAR_HEIGHT + (len(lines) + 2) * LINE_HEIGHT + MARGIN + 6
    tops = [BAR_HEIGHT + MARGIN + 6 + n * LINE_HEIGHT for n in range(len(lines))]
    marks = [_mark(MARGIN + column * CHAR_WIDTH, tops[n], len(REFUSED_END)) for n, column in _refused_ends(rows)]
    legend = tops[-1] + 2 * LINE_HEIGHT
    marks += [_mark(MARGIN, legend, 2), f'<text x="{MARGIN + 3 * CHAR_WIDTH:g}" y="{legend}" font-size="11.5">{LEGEND}</text>']
    texts = [f'<text x="{MARGIN}" y="{top}" xml:space="preserve">{line}</text>' for top, line in zip(tops, lines, strict=True) if line]
    dots = [f'<circle cx="{20 + 18 * n}" cy="17" r="5.5" fill="{fill}"/>' for n, fill in enumerate(("#e88388", "#ebcb8b", "#a3be8c"))]
    frame = f'<rect width="{width:g}" height="{height}" rx="9" fill="{BACKGROUND}"/>'
    bar = f'<path d="M0 9a9 9 0 0 1 9-9h{width - 18:g}a9 9 0 0 1 9 9v25H0z" fill="{BAR}"/>'
    font = f'font-family="{FONTS}" font-size="14" fill="{COLOURS["default"]}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" {font} role="img">'
    title = f"<title>{html.escape(command)}: the thinking dim, injected text in yellow brackets</title>"
    return "\n".join([head, title, frame, bar, *dots, *marks, *texts, "</svg>\n"])


def _refused_ends(rows: list[list[Any]]) -> list[tuple[int, int]]:
    """Line of the picture and column of each; the command stands above the first row."""
    return [(n, found.start()) for n, row in enumerate(rows, 1) for found in re.finditer(re.escape(REFUSED_END), _text(row))]


def _mark(x: float, baseline: float, num_chars: int) -> str:
    """A frame around characters of a line."""
    width = num_chars * CHAR_WIDTH + 2
    return f'<rect x="{x - 1:g}" y="{baseline - 14}" width="{width:g}" height="18" rx="4" fill="none" stroke="{MARK}" stroke-width="1.5"/>'


def _spans(row: list[Any]) -> str:
    """A row as pieces of one style each; each keeps its width in whatever font there is."""
    column, spans = 0, []
    for (colour, is_bold, is_dim), chars in groupby(row[: len(_text(row))], key=lambda char: (char.fg, char.bold, char.blink)):
        text = "".join(char.data for char in chars)
        fill = DIM if is_dim else COLOURS.get(colour, f"#{colour}")
        style = f' fill="{fill}"' if fill != COLOURS["default"] else ""
        style += ' font-weight="bold"' if is_bold else ""
        x, width = MARGIN + column * CHAR_WIDTH, len(text) * CHAR_WIDTH
        spans.append(f'<tspan x="{x:g}" textLength="{width:g}"{style}>{html.escape(text)}</tspan>')
        column += len(text)
    return "".join(spans)


def draw() -> None:
    PICTURE.write_text(svg())


if __name__ == "__main__":
    if sys.argv[1:] == ["run"]:
        run()
    else:
        if sys.argv[1:] == ["record"]:
            record()
        draw()
