# SPDX-License-Identifier: Apache-2.0
"""A report's parts, in the words that the page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from s1_client.cli.load.figures import Drawn
from s1_client.cli.load.forest import is_better
from s1_client.loadtest._compare import Ratio
from s1_client.loadtest._metrics import TERMS
from s1_client.loadtest._record import Run
from s1_client.loadtest._summary import RunSummary


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure with its SVG, whose text is escaped already."""

    drawn: Drawn
    svg: str


@dataclass(frozen=True, slots=True)
class View:
    """A run's part of the page."""

    name: str
    run: Run
    summary: RunSummary
    figures: Sequence[Shown]

    @property
    def num_failed(self) -> int:
        """In all levels."""
        return sum(level.num_failed for level in self.summary.levels)

    @property
    def scenario(self) -> str:
        """To read."""
        return json.dumps(self.run.scenario, indent=1, ensure_ascii=False)

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """What was run where."""
        run, machine = self.run, self.run.machine
        yield "scenario", f"{run.scenario_name} ({run.scenario_hash[:12]})"
        yield "started", run.started_at
        yield "driver", f"{run.driver} {run.driver_version}"
        yield "server", f"Triton {run.server_version} at {run.url}, model {run.model}"
        yield "engine", ", ".join(f"{name} {value}" for name, value in run.engine.items()) or "not told"
        gpus = ", ".join(machine.gpus or ()) or ("none" if machine.gpus is not None else "not known")
        yield "driver's machine", f"{machine.cpu}, {machine.num_cores} cores, {machine.memory_bytes / 2**30:.0f} GiB; GPUs: {gpus}"


@dataclass(frozen=True, slots=True)
class Row:
    """A ratio in a table."""

    ratio: Ratio

    @property
    def title(self) -> str:
        """With the unit, and the statistic where there are several."""
        term = TERMS[self.ratio.name]
        unit = f", {term.unit}" if term.unit else ""
        return f"{term.title}{unit}" + (f", {self.ratio.statistic}" if self.ratio.statistic != "mean" else "")

    @property
    def kind(self) -> str:
        """What the second run is; empty if that cannot be told."""
        better = is_better(self.ratio)
        return "" if better is None else "better" if better else "worse"

    @property
    def said(self) -> str:
        """The same in words."""
        if self.ratio.ratio is None:
            return "no ratio to 0"
        if self.ratio.verdict == "too few":
            return "too few to say"
        return f"{self.ratio.verdict}{f': {self.kind}' if self.kind else ''}"


@dataclass(frozen=True, slots=True)
class Load:
    """A level that both runs had."""

    name: str
    rows: Sequence[Row]
    figure: Shown | None = None

    def with_figure(self, figure: Shown | None) -> Load:
        """The same, drawn."""
        return replace(self, figure=figure)

    @property
    def told(self) -> str:
        """Whether the runs can be told apart there."""
        judged = [row for row in self.rows if row.ratio.low is not None]
        differing = sum(row.ratio.verdict != "indistinguishable" for row in judged)
        if not judged:
            return "There are too few requests to say whether the two runs differ."
        if not differing:
            return "The two runs cannot be told apart."
        return f"The two runs differ in {differing} of {len(judged)} figures that have an interval."


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    before: View
    after: View
    loads: Sequence[Load]
    figure: Shown | None

    @property
    def num_intervals(self) -> int:
        """In all loads."""
        return sum(row.ratio.low is not None for load in self.loads for row in load.rows)

    @property
    def notes(self) -> Iterator[str]:
        """What one has to know before one believes it."""
        one, other = self.before.run, self.after.run
        for what, is_equal in (
            ("The scenarios", one.scenario_hash == other.scenario_hash),
            ("The drivers", one.driver == other.driver),
            ("The drivers' machines", one.machine == other.machine),
        ):
            if not is_equal:
                yield f"{what} differ: the ratios are not of the servers alone."


def by_load(ratios: Sequence[Ratio]) -> Iterator[Load]:
    """Ratios of one load stand together."""
    for (mode, value), group in groupby(ratios, key=lambda one: (one.mode, one.value)):
        yield Load(load_name(mode, value), [Row(one) for one in group])


def load_name(mode: str, value: float) -> str:
    """In words."""
    return f"{value:g} at once" if mode == "concurrency" else f"{value:g}/s"
