# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 report``: a web page of the runs of a load test, or a comparison of two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from s1_client.cli.load.loadtest import RECORD
from s1_client.cli.output import clean, echo
from s1_client.loadtest._compare import NUM_DRAWS, SEED, Ratio, compare
from s1_client.loadtest._record import Run, read
from s1_client.loadtest._summary import RunSummary, Slo, summarise
from s1_client.loadtest._typed import Malformed
from s1_client.runs import Refused, write_text

SCHEMA = "s1-loadtest-summary/1"
PAGE, SUMMARY = "report.html", "summary.json"
_LIMITS = Slo()

_folder = click.Path(exists=True, file_okay=False, path_type=Path)
_milliseconds = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("run_folder", type=_folder)
@click.argument("other_folder", type=_folder, required=False)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="folder of the report  [default: report, in the last given folder]",
)
@click.option("--title", metavar="TEXT", help="title of the page  [default: the runs' labels]")
@click.option(
    "--max-ttft-ms", metavar="MS", type=_milliseconds, default=_LIMITS.time_to_first_token_ms, show_default=True,
    help="limit on the time to first token of a good request",
)  # fmt: skip
@click.option(
    "--max-tpot-ms", metavar="MS", type=_milliseconds, default=_LIMITS.time_per_output_token_ms, show_default=True,
    help="limit on the time per output token of a good request",
)  # fmt: skip
def report(run_folder: Path, other_folder: Path | None, max_ttft_ms: float, max_tpot_ms: float, **rest: Any) -> None:
    """Draw a report of the run that `s1 loadtest` wrote to RUN_FOLDER. With OTHER_FOLDER it also compares the two runs, as
    ratios OTHER_FOLDER / RUN_FOLDER.

    Writes report.html, a self-contained page, its plots as PNG files, and all figures as summary.json. A folder may contain
    several runs: run.json is searched in it, else in its subfolders. Runs of two folders are paired by scenario and driver.

    Exit codes: 0 the report was written, even if a run did not pass (the page says so at its top), 2 a folder has no record.
    """
    slo = Slo(time_to_first_token_ms=max_ttft_ms, time_per_output_token_ms=max_tpot_ms)
    folders = [run_folder] if other_folder is None else [run_folder, other_folder]
    groups = [_runs_in(folder) for folder in folders]
    pairs = _pairs(*groups) if other_folder else []
    where = rest["out"] or folders[-1] / "report"
    try:
        _write(where, [run for group in groups for run in group], pairs, slo, rest["title"])
    except OSError as error:
        raise Refused(f"{where}: {error.strerror}") from error
    echo(f"report: {where / PAGE}; figures: {where / SUMMARY}")


def _runs_in(folder: Path) -> list[Run]:
    found = [folder / RECORD] if (folder / RECORD).exists() else sorted(folder.glob(f"*/{RECORD}"))
    if not found:
        raise Refused(f"{folder}: no {RECORD} in it or its subfolders; give a folder that s1 loadtest wrote")
    try:
        return [read(path) for path in found]
    except (Malformed, OSError) as error:
        raise Refused(str(error)) from error


def _pairs(before: Sequence[Run], after: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Pair the runs of two folders: single runs directly, several runs by scenario and driver."""
    if len(before) == len(after) == 1:
        return [(before[0], after[0])]
    others = {(run.scenario_name, run.driver): run for run in after}
    found = [(run, others[run.scenario_name, run.driver]) for run in before if (run.scenario_name, run.driver) in others]
    if not found:
        raise Refused("the two folders have no runs of the same scenario and driver: there is nothing to compare")
    return found


def _write(where: Path, runs: Sequence[Run], pairs: Sequence[tuple[Run, Run]], slo: Slo, title: str | None) -> None:
    from s1_client.cli.load.drawing import draw_comparison, draw_view  # importing matplotlib is slow
    from s1_client.cli.load.page import render

    where.mkdir(parents=True, exist_ok=True)
    names = _names(runs)
    summaries = [summarise(run, slo) for run in runs]
    prefixes = [f"run{number + 1}-" if len(runs) > 1 else "" for number in range(len(runs))]
    views = [
        draw_view(name, run, summary, where, prefix, slo)
        for name, run, summary, prefix in zip(names, runs, summaries, prefixes, strict=True)
    ]
    view_of = dict(zip(map(id, runs), views, strict=True))
    ratios = [compare(before, after, slo) for before, after in pairs]
    comparisons = [
        draw_comparison(view_of[id(before)], view_of[id(after)], found, where, f"pair{number + 1}-")
        for number, ((before, after), found) in enumerate(zip(pairs, ratios, strict=True))
    ]
    write_text(where / PAGE, render(title or f"Load test: {', '.join(names)}", views, comparisons, slo))
    write_text(where / SUMMARY, json.dumps(_as_json(summaries, pairs, ratios, slo), indent=1) + "\n")
    for name, summary in zip(names, summaries, strict=True):
        echo(f"{name}: {'did not pass' if summary.faults else 'passed'} its checks")


def _names(runs: Sequence[Run]) -> list[str]:
    """Return a unique name for each run: its label, with driver and start time or a number where labels are equal."""
    labels = [clean(run.label) for run in runs]
    names = [
        f"{label} ({run.driver}, {run.started_at})" if labels.count(label) > 1 else label for label, run in zip(labels, runs, strict=True)
    ]
    return [f"{name} #{number + 1}" if names.count(name) > 1 else name for number, name in enumerate(names)]


def _as_json(
    summaries: Sequence[RunSummary], pairs: Sequence[tuple[Run, Run]], ratios: Sequence[Sequence[Ratio]], slo: Slo
) -> dict[str, Any]:
    """Return the content of summary.json; ``runs`` holds ``RunSummary`` objects and ``ratios`` ``Ratio`` objects."""
    return {
        "schema": SCHEMA,
        "percentiles": "numpy.percentile, method linear",
        "limits": asdict(slo),
        "runs": [asdict(summary) for summary in summaries],
        "intervals": {"num_draws": NUM_DRAWS, "seed": SEED},
        "comparisons": [
            {"before": _identity(before), "after": _identity(after), "ratios": [asdict(ratio) for ratio in found]}
            for (before, after), found in zip(pairs, ratios, strict=True)
        ],
    }


def _identity(run: Run) -> dict[str, str]:
    return {"label": run.label, "driver": run.driver, "started_at": run.started_at}
