# SPDX-License-Identifier: Apache-2.0
"""The figures of a report, each as a PNG in a folder and as SVG for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s1_client.cli.load.figures import Drawn, draw_run, draw_throughput
from s1_client.cli.load.forest import draw_forest
from s1_client.cli.load.svg import inline_svg
from s1_client.cli.load.views import Comparison, Shown, View, by_load
from s1_client.cli.plots.style import DPI, styled
from s1_client.loadtest._compare import Ratio
from s1_client.loadtest._record import Run
from s1_client.loadtest._summary import RunSummary


def draw_view(name: str, run: Run, summary: RunSummary, folder: Path, prefix: str) -> View:
    """A run with its figures. ``prefix`` is that of files and ids: no other part of the page has it."""
    with styled():
        return View(name, run, summary, [_shown(drawn, folder, prefix) for drawn in draw_run(run, summary)])


def draw_comparison(before: View, after: View, ratios: Sequence[Ratio], folder: Path, prefix: str) -> Comparison:
    """Two runs side by side, with the figures of that."""
    names = (before.name, after.name)
    with styled():
        loads = []
        for number, load in enumerate(by_load(ratios)):
            drawn = draw_forest([row.ratio for row in load.rows], f"ratios-{number + 1}", names)
            loads.append(load.with_figure(_shown(drawn, folder, prefix) if drawn else None))
        figure = _throughput(before, after, names)
        return Comparison(before, after, loads, _shown(figure, folder, prefix) if figure else None)


def _throughput(before: View, after: View, names: tuple[str, str]) -> Drawn | None:
    """If both have a line to draw."""
    views = (before, after)
    if not all(sum(level.mode == "concurrency" and level.num_done > 0 for level in view.summary.levels) > 1 for view in views):
        return None
    return draw_throughput([(view.run, view.summary) for view in views], names)


def _shown(drawn: Drawn, folder: Path, prefix: str) -> Shown:
    """The page has titles of its own, a file needs one."""
    svg = inline_svg(drawn, f"{prefix}{drawn.name}-")
    drawn.figure.suptitle(drawn.title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    drawn.figure.savefig(folder / f"{prefix}{drawn.name}.png", dpi=DPI)
    return Shown(drawn, svg)
