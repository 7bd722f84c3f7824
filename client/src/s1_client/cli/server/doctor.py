# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 doctor``: check a server and everything on the way to it."""

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
@click.option("--json", "as_json", is_flag=True, help="print each finding as a line of JSON")
@connection_options
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, **parameters: Any) -> None:
    """Check the connection, the server, the model and the engine. Prints a line for each finding, with a fix where one is known.

    Exit codes: 0 nothing is wrong, 1 a check found a fault.
    """
    settings = settings_of(parameters)
    states = set()
    with closing(Server(settings)) as server, connect(parameters) as client:
        for finding in examine(DoctorContext(settings=settings, server=server, client=client)):
            states.add(finding.state)
            _print(finding, as_json)
    ctx.exit(1 if WRONG in states else 0)


def examine(ctx: DoctorContext) -> Iterator[Finding]:
    """Yield the findings of all checks, up to a check that stops the others."""
    try:
        for check in CHECKS:
            try:
                yield from check(ctx)
            except S1Error as error:
                yield checks.failure(check.__name__.replace("_", " "), error)
                if isinstance(error, ConnectionFailed):
                    return  # every further check would report the same
    except StopChecks:
        return


def _print(finding: Finding, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    is_unwrapped = not sys.stdout.isatty()  # rich wraps at words only on a terminal
    show(Text.assemble((f"{finding.state:8}", STYLES[finding.state]), f"{finding.check:15}", finding.text), soft_wrap=is_unwrapped)
    if finding.fix:
        show(Text(f"{'':23}-> {finding.fix}"), soft_wrap=is_unwrapped)
