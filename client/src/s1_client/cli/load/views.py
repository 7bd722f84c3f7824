# SPDX-License-Identifier: Apache-2.0
"""The parts of a report, with the texts that the page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from s1_client.cli.load.figures import ReportFigure
from s1_client.cli.load.forest import is_better
from s1_client.loadtest._compare import Ratio
from s1_client.loadtest._metric_definitions import TERMS
from s1_client.loadtest._record import Run
from s1_client.loadtest._summary import RunSummary


@dataclass(frozen=True, slots=True)
class EmbeddedFigure:
    """A figure with its SVG, whose text is already escaped."""

    drawn: ReportFigure
    svg: str


@dataclass(frozen=True, slots=True)
class View:
    """A run and its figures, a section of the page."""

    name: str
    run: Run
    summary: RunSummary
    figures: Sequence[EmbeddedFigure]

    @property
    def num_failed(self) -> int:
        """The number of failed requests in all levels."""
        return sum(level.num_failed for level in self.summary.levels)

    @property
    def scenario(self) -> str:
        """The scenario as indented JSON."""
        return json.dumps(self.run.scenario, indent=1, ensure_ascii=False)

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """Pairs of name and value that describe the run, its server and its machine."""
        run, machine = self.run, self.run.machine
        yield "scenario", f"{run.scenario_name} ({run.scenario_hash[:12]})"
        yield "started", run.started_at
        yield "driver", f"{run.driver} {run.driver_version}"
        yield "server", f"Triton {run.server_version} at {run.url}, model {run.model}"
        yield "engine", ", ".join(f"{name} {value}" for name, value in run.engine.items()) or "unknown"
        gpus = ", ".join(machine.gpus or ()) or ("none" if machine.gpus is not None else "unknown")
        yield "driver's machine", f"{machine.cpu}, {machine.num_cores} cores, {machine.memory_bytes / 2**30:.0f} GiB; GPUs: {gpus}"


@dataclass(frozen=True, slots=True)
class Row:
    """A ratio as a row of the table."""

    ratio: Ratio

    @property
    def title(self) -> str:
        """The figure's title, unit and, if it has several, statistic."""
        term = TERMS[self.ratio.name]
        unit = f", {term.unit}" if term.unit else ""
        return f"{term.title}{unit}" + (f", {self.ratio.statistic}" if self.ratio.statistic != "mean" else "")

    @property
    def kind(self) -> str:
        """Whether the second run is "better" or "worse"; "" if they are indistinguishable or neither direction is better."""
        better = is_better(self.ratio)
        return "" if better is None else "better" if better else "worse"

    @property
    def verdict(self) -> str:
        """The verdict on the second run in words."""
        if self.ratio.ratio is None:
            return "no ratio: first is 0"
        if self.ratio.verdict == "too few":
            return "too few requests"
        return f"{self.ratio.verdict}{f': {self.kind}' if self.kind else ''}"


@dataclass(frozen=True, slots=True)
class Load:
    """A load that both runs have, with its ratios."""

    name: str
    rows: Sequence[Row]
    figure: EmbeddedFigure | None = None

    def with_figure(self, figure: EmbeddedFigure | None) -> Load:
        """Return a copy with the figure of its ratios."""
        return replace(self, figure=figure)

    @property
    def conclusion(self) -> str:
        """A sentence on whether the runs differ at this load."""
        judged = [row for row in self.rows if row.ratio.low is not None]
        differing = sum(row.ratio.verdict != "indistinguishable" for row in judged)
        if not judged:
            return "There are too few requests to say whether the two runs differ."
        if not differing:
            return "The two runs are indistinguishable."
        return f"The two runs differ in {differing} of {len(judged)} figures that have an interval."


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two runs."""

    before: View
    after: View
    loads: Sequence[Load]
    figure: EmbeddedFigure | None

    @property
    def num_intervals(self) -> int:
        """The number of intervals in all loads."""
        return sum(row.ratio.low is not None for load in self.loads for row in load.rows)

    @property
    def notes(self) -> Iterator[str]:
        """Warnings about differences between the runs other than the server."""
        before, after = self.before.run, self.after.run
        for subject, is_equal in (
            ("The scenarios", before.scenario_hash == after.scenario_hash),
            ("The drivers", before.driver == after.driver),
            ("The drivers' machines", before.machine == after.machine),
        ):
            if not is_equal:
                yield f"{subject} differ: the ratios do not compare the servers alone."


def by_load(ratios: Sequence[Ratio]) -> Iterator[Load]:
    """Yield the loads of a comparison, each with its ratios."""
    for load, group in groupby(ratios, key=lambda ratio: (ratio.mode, ratio.value, ratio.distribution)):
        yield Load(load_name(*load), [Row(ratio) for ratio in group])


def load_name(mode: str, value: float, distribution: str | None = None) -> str:
    """Return the name of a load, "concurrency 4", "0.5/s" or "0.5/s, Poisson"."""
    return f"concurrency {value:g}" if mode == "concurrency" else f"{value:g}/s{', Poisson' if distribution == 'poisson' else ''}"
