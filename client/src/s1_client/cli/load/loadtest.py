# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 loadtest``: run a scenario against a server and write the record of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from s1_client import S1Error, ServerNotReady
from s1_client._access import read_url
from s1_client._settings import Settings
from s1_client.cli.load.capacity import capacity_options, prepared_scenario, print_capacity, run_search, search_of
from s1_client.cli.load.progress import LevelProgress
from s1_client.cli.options import SectionedCommand, complete_from, server_options, settings_of
from s1_client.cli.output import echo
from s1_client.cli.server.queries import Server
from s1_client.loadtest import _perf_analyzer, _scenario
from s1_client.loadtest._capacity_summary import summarise_capacity
from s1_client.loadtest._counters import read_counters
from s1_client.loadtest._judgement import Unjudgeable
from s1_client.loadtest._perf_analyzer import Unsuitable
from s1_client.loadtest._record import Run
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._runner import LoadTest, run
from s1_client.loadtest._scenario import Scenario
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._typed import Malformed
from s1_client.loadtest._verdict import faults
from s1_client.runs import Refused, write_text

RECORD = "run.json"
METRICS_PORT = 8002  # Triton's default
Number = TypeVar("Number", int, float)


def _numbers(kind: type[Number]) -> Callable[[click.Context, click.Parameter, str | None], tuple[Number, ...] | None]:
    """Return a click callback that parses comma-separated numbers."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[Number, ...] | None:
        try:
            return None if value is None else tuple(kind(part) for part in value.split(","))
        except ValueError:
            allowed = "numbers" if kind is float else "integers"
            raise click.BadParameter(f"got {value!r}, allowed: {allowed} separated by commas", context, parameter) from None

    return read


def _list(context: click.Context, _parameter: click.Parameter, is_set: bool) -> None:
    """Print the scenarios of this package and exit."""
    if is_set:
        for name, path in _scenario.shipped().items():
            echo(f"{name:13} {_scenario.read(path).about}")
        context.exit()


@click.command(cls=SectionedCommand)
@click.argument("scenario", shell_complete=complete_from(_scenario.shipped()))
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="list the scenarios of this package and exit")
@click.option("--driver", type=click.Choice(["client", "perf_analyzer"]), default="client", show_default=True, help="who makes the load")
@click.option("--perf-analyzer", "program", metavar="PATH", help="path of NVIDIA's perf_analyzer  [default: search PATH]")
@click.option(
    "--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="folder of the record  [default: loadtest-SCENARIO-TIME]"
)
@click.option("--label", metavar="TEXT", help="name of the run in reports  [default: the scenario's name]")
@click.option("--concurrency", metavar="N,N,…", callback=_numbers(int), help="run levels of N requests in flight instead of the scenario's")
@click.option(
    "--request-rate", metavar="X,X,…", callback=_numbers(float), help="run levels of X requests per second instead of the scenario's"
)
@click.option(
    "--distribution",
    type=click.Choice(["constant", "poisson"]),
    help="distribution of the gaps at a request rate  [default: the scenario's]",
)
@click.option(
    "--requests",
    "num_requests",
    metavar="N",
    type=int,
    help="number of requests in each level  [default: the scenario's; in a search as many as its percentile needs]",
)
@click.option("--max-seconds", metavar="S", type=float, help="seconds after which a level starts no request  [default: the scenario's]")
@click.option(
    "--seed",
    metavar="N",
    type=int,
    help="changes the prompts, so that no KV cache holds them from an earlier run  [default: the scenario's]",
)
@click.option(
    "--roofline",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="output of build/engine.py plan --json: adds the GPUs' upper bound to the report",
)
@click.option(
    "--metrics-url",
    "metrics_urls",
    metavar="URL",
    multiple=True,
    help=f"the server's metrics (repeatable: of each replica)  [default: port {METRICS_PORT} of its host, if it answers]",
)
@click.option(
    "--replica",
    "replicas",
    metavar="HOST:PORT",
    multiple=True,
    help="a further server of the same model (repeatable); requests go to --url and to these in turn",
)
@capacity_options
@server_options
@click.pass_context
def loadtest(context: click.Context, /, scenario: str, **parameters: Any) -> None:
    """Run the load of SCENARIO against a server and check every reply. SCENARIO is a name (see --list) or a TOML file.

    The times, token counts and faults of every request are written to DIR/run.json, which s1 report draws. A reply is correct if
    it kept its budgets, its ledger adds up, and its streamed tokens match the ledger.

    perf_analyzer stops at the first failed request, and cannot cancel a request or send it answer_now. Its input, export and
    log are kept in DIR.

    With --find-capacity the levels are chosen by a search: the load doubles until the objective fails, then the bracket is
    halved, and the capacity must hold twice. The record is written after each level; the same command with the same --out
    continues a search that was interrupted.

    Exit codes: 0 the run passed, 1 a reply is incorrect, a request failed with an error that the scenario does not allow, or a
    search found no load at which the objective holds; others as in s1 --help.
    """
    if parameters["concurrency"] and parameters["request_rate"]:
        raise click.UsageError("give either --concurrency or --request-rate, not both")
    try:
        search = search_of(parameters)
        name, loaded = _read(scenario)
        test = _load_test(name, _changed(loaded, parameters, search), search, parameters)
        record = _run(test)
    except (Malformed, Unsuitable, Unjudgeable, OSError) as error:
        raise Refused(str(error)) from error
    context.exit(_print_verdict(record, test))


def _read(scenario: str) -> tuple[str, Scenario]:
    shipped, path = _scenario.shipped(), Path(scenario)
    if scenario in shipped:
        return scenario, _scenario.read(shipped[scenario])
    if path.suffix != ".toml":
        raise Refused(f"SCENARIO: got {scenario!r}, allowed: a TOML file, {', '.join(shipped)}")
    return path.stem, _scenario.read(path)


def _changed(scenario: Scenario, parameters: dict[str, Any], search: CapacitySearch | None) -> Scenario:
    names = ("concurrency", "request_rate", "distribution", "num_requests", "max_seconds")
    if parameters["seed"] is not None:
        scenario = replace(scenario, seed=parameters["seed"])
    if search is not None:
        return prepared_scenario(scenario, search, parameters)
    return scenario.with_load(**{name: parameters[name] for name in names if parameters[name] is not None})


def _load_test(name: str, scenario: Scenario, search: CapacitySearch | None, parameters: dict[str, Any]) -> LoadTest:
    servers = _servers(settings_of(parameters), parameters["replicas"])
    is_client = parameters["driver"] == "client"
    if is_client and parameters["program"]:
        raise click.UsageError("--perf-analyzer requires --driver perf_analyzer")
    if not is_client and parameters["replicas"]:
        raise click.UsageError("--replica requires --driver client: perf_analyzer sends all requests to one address")
    program = None if is_client else _perf_analyzer.find(parameters["program"])
    metrics_urls = _metrics_urls(servers, parameters["metrics_urls"])
    folder = parameters["out"] or Path(f"loadtest-{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder.mkdir(parents=True, exist_ok=True)
    if search is None and (folder / RECORD).exists():
        raise Refused(f"{folder / RECORD}: already exists; give another --out")
    return LoadTest(
        scenario=scenario,
        scenario_name=name,
        servers=servers,
        perf_analyzer=program,
        metrics_urls=metrics_urls,
        folder=folder,
        label=parameters["label"] or name,
        roofline=parameters["roofline"] and Roofline.of_plan(parameters["roofline"]),
        search=search,
    )


def _servers(first: Settings, replicas: Sequence[str]) -> tuple[Settings, ...]:
    """Return the settings of all servers. Raises click.UsageError for an address that is malformed, or given twice."""
    addresses = [first.address]
    for url in replicas:
        try:
            scheme, address = read_url(url)
        except ValueError as error:
            raise click.UsageError(f"--replica: {error}") from None
        if address in addresses:
            raise click.UsageError(f"--replica: got {url!r} twice, or as --url; allowed: different servers")
        if scheme and (scheme == "grpcs") != (first.tls is not None):
            raise click.UsageError(f"--replica: got {url!r}, allowed: {'with' if first.tls else 'without'} TLS, as --url")
        addresses.append(address)
    return tuple(replace(first, address=address) for address in addresses)


def _metrics_urls(servers: Sequence[Settings], given: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs of the servers' metrics; empty if none is given and the defaults do not answer. Raises Refused."""
    default = (f"http://{server.address.rpartition(':')[0]}:{METRICS_PORT}/metrics" for server in servers)
    urls = tuple(dict.fromkeys(given or default))
    for url in urls:
        try:
            read_counters([url])
        except OSError as error:
            if given:
                raise Refused(f"--metrics-url: {error}") from error
            echo(f"no metrics at {url}: the record will not contain the server's counters (see --metrics-url)", err=True)
            return ()
    return urls


def _run(test: LoadTest) -> Run:
    """Run the test and write its record after each level."""
    path = test.folder / RECORD
    with closing(Server(test.settings)) as server:
        for settings in test.servers:
            _check_ready(settings)
        if test.search:
            return run_search(test, server, path)
        with _noted(path), LevelProgress(test.scenario.stages) as progress:
            return run(test, server, progress, lambda record: write_text(path, record.to_json()))


@contextmanager
def _noted(path: Path) -> Iterator[None]:
    """Let the error that ends a run leave the block, after a note that the record has the levels before it."""
    try:
        yield
    except (KeyboardInterrupt, S1Error, OSError):
        if path.exists():
            echo(f"stopped; {path} has the levels that had ended", err=True)
        raise


def _check_ready(settings: Settings) -> None:
    with closing(Server(settings)) as server:
        if not server.has_ready(settings.model):
            raise ServerNotReady(f"model '{settings.model}' is not ready at {settings.address}")


def _print_verdict(record: Run, test: LoadTest) -> int:
    """Print the faults, the capacity and the path of the record, and return the exit code."""
    found, capacity = faults(record, test.scenario.allowed_errors), summarise_capacity(record)
    for fault in found:
        echo(f"wrong: {fault}", err=True)
    code = print_capacity(capacity) if capacity else 0
    echo(f"{'did not pass' if found else 'passed'}; record: {test.folder / RECORD}")
    return 1 if found else code
