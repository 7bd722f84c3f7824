# SPDX-License-Identifier: Apache-2.0
"""Draw the figures of a report, each as a PNG file and as an SVG element for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from s1_client.cli.load.axes import add_title
from s1_client.cli.load.capacity_figure import draw_capacity
from s1_client.cli.load.figures import ReportFigure, draw_run, draw_throughput
from s1_client.cli.load.forest import draw_forest
from s1_client.cli.load.svg import inline_svg
from s1_client.cli.load.views import Comparison, EmbeddedFigure, View, by_load
from s1_client.cli.plots.style import DPI, styled
from s1_client.loadtest._capacity_summary import one_level_per_load
from s1_client.loadtest._compare import Ratio
from s1_client.loadtest._record import Run
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._summary import RunSummary, Slo, summarise


def draw_view(name: str, run: Run, summary: RunSummary, folder: Path, prefix: str, slo: Slo) -> View:
    """Return a run's part of the page with its figures. ``prefix`` of file names and ids is unique within the page."""
    with styled():
        figures = draw_run(run, summary) if run.search is None else _of_search(run, run.search, summary, slo)
        return View(name, run, summary, [_embedded(figure, folder, prefix) for figure in figures])


def _of_search(run: Run, search: CapacitySearch, summary: RunSummary, slo: Slo) -> Iterator[ReportFigure]:
    """Yield the figures of a capacity search: its trials, and those of a run with one level for each load, in their order."""
    found = draw_capacity(search, summary.capacity) if summary.capacity else None
    if found:
        yield found
    ordered = one_level_per_load(run)
    yield from draw_run(ordered, summarise(ordered, slo))


def draw_comparison(before: View, after: View, ratios: Sequence[Ratio], folder: Path, prefix: str) -> Comparison:
    """Return the comparison of two runs with its figures."""
    names = (before.name, after.name)
    with styled():
        loads = []
        for number, load in enumerate(by_load(ratios)):
            forest = draw_forest([row.ratio for row in load.rows], f"ratios-{number + 1}", names)
            loads.append(load.with_figure(_embedded(forest, folder, prefix) if forest else None))
        figure = _throughput(before, after, names)
        return Comparison(before, after, loads, _embedded(figure, folder, prefix) if figure else None)


def _throughput(before: View, after: View, names: tuple[str, str]) -> ReportFigure | None:
    """Draw the throughput of both runs; None unless both have several concurrencies with replies."""
    views = (before, after)
    if not all(sum(level.mode == "concurrency" and level.num_done > 0 for level in view.summary.levels) > 1 for view in views):
        return None
    return draw_throughput([(view.run, view.summary) for view in views], names)


def _embedded(figure: ReportFigure, folder: Path, prefix: str) -> EmbeddedFigure:
    """Write the PNG file and return the figure with its SVG. Only the file needs a title, the page has its own."""
    svg = inline_svg(figure, f"{prefix}{figure.name}-")
    add_title(figure.figure, figure.title)
    figure.figure.savefig(folder / f"{prefix}{figure.name}.png", dpi=DPI)
    return EmbeddedFigure(figure, svg)
