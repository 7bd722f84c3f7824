# SPDX-License-Identifier: Apache-2.0
"""``s1 loadtest``: a scenario against a server, and the record of what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from s1_client import ServerNotReady
from s1_client._settings import Settings
from s1_client.cli.load.progress import Levels
from s1_client.cli.options import SectionedCommand, completed, server_options, settings_of
from s1_client.cli.output import echo
from s1_client.cli.server.queries import Server
from s1_client.loadtest import _perf_analyzer, _scenario
from s1_client.loadtest._counters import read_counters
from s1_client.loadtest._perf_analyzer import Unsuitable
from s1_client.loadtest._record import Run
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._runner import Plan, run
from s1_client.loadtest._scenario import Scenario
from s1_client.loadtest._typed import Malformed
from s1_client.loadtest._verdict import faults
from s1_client.runs import Refused

RECORD = "run.json"
METRICS_PORT = 8002  # Triton's own
Number = TypeVar("Number", int, float)


def _numbers(kind: type[Number]) -> Callable[[click.Context, click.Parameter, str | None], tuple[Number, ...] | None]:
    """A callback that reads numbers with commas between them."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[Number, ...] | None:
        try:
            return None if value is None else tuple(kind(part) for part in value.split(","))
        except ValueError:
            allowed = "numbers" if kind is float else "integers"
            raise click.BadParameter(f"got {value!r}, allowed: {allowed} with commas between them", context, parameter) from None

    return read


def _list(context: click.Context, _parameter: click.Parameter, is_wanted: bool) -> None:
    """Show the scenarios that there are, and leave."""
    if is_wanted:
        for name, path in _scenario.shipped().items():
            echo(f"{name:13} {_scenario.read(path).about}")
        context.exit()


@click.command(cls=SectionedCommand)
@click.argument("scenario", shell_complete=completed(_scenario.shipped()))
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="the scenarios that there are")
@click.option("--driver", type=click.Choice(["client", "perf_analyzer"]), default="client", show_default=True, help="who makes the load")
@click.option("--perf-analyzer", "program", metavar="PATH", help="NVIDIA's program  [default: the one on PATH]")
@click.option(
    "--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="default: loadtest-… by the scenario and the time"
)
@click.option("--label", metavar="TEXT", help="what a report calls the run  [default: the scenario's name]")
@click.option("--concurrency", metavar="N,N,…", callback=_numbers(int), help="these levels instead of the scenario's: requests at once")
@click.option("--request-rate", metavar="X,X,…", callback=_numbers(float), help="these levels instead: requests a second")
@click.option("--distribution", type=click.Choice(["constant", "poisson"]), help="of the gaps between requests at a rate")
@click.option("--requests", "num_requests", metavar="N", type=int, help="of each level")
@click.option("--max-seconds", metavar="S", type=float, help="no request of a level starts later")
@click.option("--seed", metavar="N", type=int, help="another one asks other prompts, which no KV cache holds from an earlier run")
@click.option(
    "--roofline", metavar="FILE", type=click.Path(path_type=Path), help="of build/engine.py plan --json: the GPUs' limit, for the report"
)
@click.option("--metrics-url", metavar="URL", help=f"the server's metrics  [default: port {METRICS_PORT} of its host, if it answers]")
@server_options
@click.pass_context
def loadtest(context: click.Context, /, scenario: str, **parameters: Any) -> None:
    """Put a server under the load of SCENARIO, a name (--list) or a file, and check every reply.

    Every request's times and counts, and what was wrong with its reply, go into DIR/run.json; s1 report draws it. Budgets have to be
    kept, the accounts to add up, and what came has to be what the account says.

    perf_analyzer ends at the first request that fails; it cannot cancel, and cannot tell a request to answer now. Its own
    input, export and words are left in DIR.

    Exit codes: 0 all is well, 1 a reply was wrong or a request failed that the scenario does not allow to; others as s1 ask.
    """
    if parameters["concurrency"] and parameters["request_rate"]:
        raise click.UsageError("give one of --concurrency and --request-rate")
    try:
        name, what = _read(scenario)
        made = _plan(name, _changed(what, parameters), parameters)
        record = _run(made)
        (made.folder / RECORD).write_text(record.to_json(), encoding="utf-8")
    except (Malformed, Unsuitable, OSError) as error:
        raise Refused(str(error)) from error
    context.exit(_tell(record, made))


def _read(scenario: str) -> tuple[str, Scenario]:
    shipped, path = _scenario.shipped(), Path(scenario)
    if scenario in shipped:
        return scenario, _scenario.read(shipped[scenario])
    if path.suffix != ".toml":
        raise Refused(f"SCENARIO: got {scenario!r}, allowed: a file FILE.toml, {', '.join(shipped)}")
    return path.stem, _scenario.read(path)


def _changed(what: Scenario, parameters: dict[str, Any]) -> Scenario:
    names = ("concurrency", "request_rate", "distribution", "num_requests", "max_seconds")
    if parameters["seed"] is not None:
        what = replace(what, seed=parameters["seed"])
    return what.with_load(**{name: parameters[name] for name in names if parameters[name] is not None})


def _plan(name: str, what: Scenario, parameters: dict[str, Any]) -> Plan:
    settings = settings_of(parameters)
    is_ours = parameters["driver"] == "client"
    if is_ours and parameters["program"]:
        raise click.UsageError("--perf-analyzer goes with --driver perf_analyzer")
    program = None if is_ours else _perf_analyzer.find(parameters["program"])
    metrics_url = _metrics_url(settings, parameters["metrics_url"])
    folder = parameters["out"] or Path(f"loadtest-{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD).exists():
        raise Refused(f"{folder / RECORD}: is there already; give another --out")
    return Plan(
        scenario=what,
        scenario_name=name,
        settings=settings,
        perf_analyzer=program,
        metrics_url=metrics_url,
        folder=folder,
        label=parameters["label"] or name,
        roofline=parameters["roofline"] and Roofline.of_plan(parameters["roofline"]),
    )


def _metrics_url(settings: Settings, given: str | None) -> str | None:
    """Where the metrics are. What was given has to answer; without it they are left out if none do."""
    url = given or f"http://{settings.address.rpartition(':')[0]}:{METRICS_PORT}/metrics"
    try:
        read_counters(url)
    except OSError as error:
        if given:
            raise Refused(f"--metrics-url: {given}: {error}") from error
        echo(f"no metrics at {url}: the record goes without the server's counters (--metrics-url)", err=True)
        return None
    return url


def _run(made: Plan) -> Run:
    with closing(Server(made.settings)) as server, Levels(made.scenario.stages) as levels:
        if not server.has_ready(made.settings.model):
            raise ServerNotReady(f"model '{made.settings.model}' is not ready")
        return run(made, server, levels)


def _tell(record: Run, made: Plan) -> int:
    """What was wrong, and where the record is; the exit code."""
    found = faults(record, made.scenario.allowed_errors)
    for fault in found:
        echo(f"wrong: {fault}", err=True)
    echo(f"{'wrong' if found else 'all is well'}; record: {made.folder / RECORD}")
    return 1 if found else 0
