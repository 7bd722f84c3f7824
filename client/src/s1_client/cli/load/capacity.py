# SPDX-License-Identifier: Apache-2.0
"""The options of ``s1 loadtest --find-capacity``, its run, and the table that it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from s1_client.cli.load.progress import LevelProgress
from s1_client.cli.options import SectionedOption
from s1_client.cli.output import echo
from s1_client.cli.tables import number, show
from s1_client.loadtest._capacity import find_capacity, prepared
from s1_client.loadtest._capacity_summary import CapacitySummary, TrialSummary, summarise_capacity
from s1_client.loadtest._judgement import Judgement
from s1_client.loadtest._objective import Objective
from s1_client.loadtest._record import Level, Run, read
from s1_client.loadtest._runner import LoadTest, RunInProgress, Server
from s1_client.loadtest._scenario import Scenario
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._typed import Malformed
from s1_client.runs import Refused, write_text

Function = TypeVar("Function", bound=Callable[..., Any])
SECTION = "Capacity search"
COLUMNS = {  # heads of the table, which fits into 80 columns
    "time_to_first_token_ms": "first\ntoken\nms",
    "time_to_first_answer_token_ms": "first\nanswer\nms",
    "request_latency_ms": "whole\nms",
}
LOADS = {"concurrency": "clients", "request_rate": "rate\n1/s"}
_BOUNDS = {"concurrency": (1.0, 1024.0), "request_rate": (0.1, 1000.0)}
_FIELDS = {  # options that only the search has, and the fields that they set
    "max_ttft_ms": "time_to_first_token_ms",
    "max_answer_ms": "time_to_first_answer_token_ms",
    "max_latency_ms": "request_latency_ms",
    "percentile": "percentile",
    "max_rejected": "max_rejected_percent",
    "max_failed": "max_failed_percent",
}
_FLAGS = {field: f"--{name.replace('_', '-')}" for name, field in _FIELDS.items()}
_FLAGS |= {"search": "--search", "precision_percent": "--precision", "num_requests": "--requests", "max_seconds": "--max-seconds"}
_OWN = (*_FIELDS, "search", "precision")


def capacity_options(function: Function) -> Function:
    """Add the options of the capacity search to a command."""
    for option in reversed(_options()):
        vars(function).setdefault("__click_params__", []).append(option)
    return function


def _options() -> list[SectionedOption]:
    def option(name: str, text: str, **rest: Any) -> SectionedOption:
        return SectionedOption(name, section=SECTION, help=text, **rest)

    milliseconds: dict[str, Any] = {"metavar": "MS", "type": float}
    bounds = ", ".join(f"{low:g}:{high:g} for {mode.replace('_', '-')}" for mode, (low, high) in _BOUNDS.items())
    return [
        option(
            "--find-capacity",
            "find the largest load, of this kind, at which the objective below holds; replaces the scenario's levels",
            type=click.Choice([mode.replace("_", "-") for mode in _BOUNDS]),
        ),
        option("--max-ttft-ms", "limit on the percentile of the time to first token", **milliseconds),
        option("--max-answer-ms", "limit on the percentile of the time to first answer token", **milliseconds),
        option("--max-latency-ms", "limit on the percentile of the request latency", **milliseconds),
        option(
            "--percentile", "percent of a level's requests that must keep each limit, 50 to 99.9  [default: 95]", metavar="P", type=float
        ),
        option("--max-rejected", "percent of a level's requests that may be rejected  [default: 0]", metavar="PERCENT", type=float),
        option(
            "--max-failed",
            "percent of a level's requests that may fail otherwise or be incorrect  [default: 0]",
            metavar="PERCENT",
            type=float,
        ),
        option("--search", f"least and largest load of the search  [default: {bounds}]", metavar="MIN:MAX", callback=_bounds),
        option(
            "--precision",
            "the search ends when the load that fails exceeds the load that holds by at most this, 1 to 50  [default: 10]",
            metavar="PERCENT",
            type=float,
        ),
    ]


def _bounds(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    if value is None:
        return None
    least, _, most = value.partition(":")
    try:
        return float(least), float(most)
    except ValueError:
        raise click.BadParameter(f"got {value!r}, allowed: MIN:MAX, such as 1:64", context, parameter) from None


def search_of(parameters: Mapping[str, Any]) -> CapacitySearch | None:
    """Return the capacity search that a command's parameters ask for; None without ``--find-capacity``.

    Raises click.UsageError for options that do not go together, and for a value that is not allowed.
    """
    mode = (parameters["find_capacity"] or "").replace("-", "_")
    if not mode:
        for name in _OWN:
            if parameters[name] is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} requires --find-capacity")
        return None
    for name in ("concurrency", "request_rate"):
        if parameters[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')}: not allowed with --find-capacity, which takes --search MIN:MAX")
    if parameters["driver"] != "client":
        raise click.UsageError("--find-capacity requires --driver client: perf_analyzer stops at the first failed request")
    given = {field: parameters[name] for name, field in _FIELDS.items() if parameters[name] is not None}
    least, most = parameters["search"] or _BOUNDS[mode]
    precision = {} if parameters["precision"] is None else {"precision_percent": parameters["precision"]}
    with _flags_named():
        return CapacitySearch(mode=mode, least=least, most=most, objective=Objective(**given), **precision)  # type: ignore[arg-type]


def prepared_scenario(scenario: Scenario, search: CapacitySearch, parameters: Mapping[str, Any]) -> Scenario:
    """Return the scenario of the search, with a command's changes. Raises click.UsageError."""
    if parameters["distribution"] is not None:
        scenario = replace(scenario, load=(replace(scenario.load[0], distribution=parameters["distribution"]),))
    with _flags_named():
        return prepared(scenario, search, parameters["max_seconds"], parameters["num_requests"])


@contextmanager
def _flags_named() -> Iterator[None]:
    """Raise click.UsageError with the flag in place of a field's name where a field is Malformed."""
    try:
        yield
    except Malformed as error:
        field, colon, rest = str(error).partition(":")
        raise click.UsageError(f"{_FLAGS.get(field, field)}{colon}{rest}") from None


def unfinished(path: Path, test: LoadTest) -> Run | None:
    """Return the record of the same search, whose levels need not be run again; None if there is no record.

    Raises Refused if the record is of another run or of a search that has ended, and Malformed if it is unreadable.
    """
    if not path.exists():
        return None
    run, scenario = read(path), test.scenario
    theirs = (run.search, run.scenario, run.model, run.url, run.replica_urls)
    is_same = theirs == (test.search, scenario.to_dict(), test.settings.model, test.settings.address, test.replica_urls)
    found = summarise_capacity(run)
    if found is None or found.is_finished or not is_same:
        kind = "a search that has ended" if is_same else "the record of another run"
        raise Refused(f"{path}: already exists, {kind}; give another --out")
    echo(f"{path}: continues after {len(run.levels)} levels", err=True)
    return run


def run_search(test: LoadTest, server: Server, path: Path) -> Run:
    """Run the search, or the rest of it, and write the record to ``path`` after each level."""
    running = RunInProgress(test, server, unfinished(path, test))
    with LevelProgress([]) as progress:
        return find_capacity(test, running, progress, _print_trial, lambda run: write_text(path, run.to_json()))


def _print_trial(_: Level, judgement: Judgement) -> None:
    echo("  holds" if judgement.holds else f"  fails: {'; '.join(judgement.reasons)}")


def print_capacity(found: CapacitySummary) -> int:
    """Print the table of the levels, the capacity and what limits it. Return the exit code: 0 if some load holds."""
    echo()
    echo(f"Objective: {found.objective}")
    show(_table(found))
    echo(found.conclusion)
    for limit in found.limits:
        echo(f"  {limit.kind}: {limit.evidence}")
    return 0 if found.capacity is not None else 1


def _table(found: CapacitySummary) -> Any:
    from rich import box
    from rich.table import Table

    names = [name for name in COLUMNS if any(name in trial.percentiles_ms for trial in found.trials)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(LOADS[found.mode], justify="right")
    for title in ("requests", "replies\n1/s", "rejected", "failed", *(COLUMNS[name] for name in names)):
        table.add_column(title, justify="right")
    table.add_column("")
    for trial in found.trials:
        times = [number(trial.percentiles_ms.get(name), ".0f") for name in names]
        counts = [str(trial.num_requests), f"{trial.requests_per_s:.2f}", str(trial.num_rejected), str(trial.num_failed)]
        table.add_row(f"{trial.load:g}", *counts, *times, _verdict(trial))
    return table


def _verdict(trial: TrialSummary) -> str:
    return "unknown" if trial.holds is None else "holds" if trial.holds else "fails"
