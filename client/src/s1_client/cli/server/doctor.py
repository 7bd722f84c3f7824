# SPDX-License-Identifier: Apache-2.0
"""``s1 doctor``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from s1_client import ConnectionFailed, S1Error
from s1_client.cli.options import SectionedCommand, connect, connection_options, settings_of
from s1_client.cli.server import checks, probe
from s1_client.cli.server.checks import NOTE, OK, SKIPPED, WRONG, DoctorContext, Finding, StopChecks
from s1_client.cli.server.queries import Server
from s1_client.cli.tables import show

CHECKS = (checks.reached, checks.version, checks.models, checks.protocol, checks.limits, checks.shared_memory, probe.examined)
STYLES = {OK: "green", NOTE: "yellow", WRONG: "bold red", SKIPPED: "dim"}


@click.command(cls=SectionedCommand)
@click.option("--json", "as_json", is_flag=True, help="one finding a line")
@connection_options
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, **parameters: Any) -> None:
    """Check everything between here and the engine: a line each, with what mends it. Exit code 1 if something is wrong."""
    settings = settings_of(parameters)
    states = set()
    with closing(Server(settings)) as server, connect(parameters) as client:
        for finding in examine(DoctorContext(settings=settings, server=server, client=client)):
            states.add(finding.state)
            _tell(finding, as_json)
    ctx.exit(1 if WRONG in states else 0)


def examine(ctx: DoctorContext) -> Iterator[Finding]:
    """All checks, up to one behind which nothing further can be looked at."""
    try:
        for check in CHECKS:
            try:
                yield from check(ctx)
            except S1Error as error:
                yield checks.failure(check.__name__.replace("_", " "), error)
                if isinstance(error, ConnectionFailed):
                    return  # or every check behind it says the same
    except StopChecks:
        return


def _tell(finding: Finding, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    is_whole = not sys.stdout.isatty()  # a terminal would break lines within words
    show(Text.assemble((f"{finding.state:8}", STYLES[finding.state]), f"{finding.check:15}", finding.text), soft_wrap=is_whole)
    if finding.mend:
        show(Text(f"{'':23}-> {finding.mend}"), soft_wrap=is_whole)
