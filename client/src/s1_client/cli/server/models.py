# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 models``: list the models of a server."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from s1_client.cli.options import SectionedCommand, address_options, settings_of
from s1_client.cli.server.queries import OTHER, Server
from s1_client.cli.tables import show

COLUMNS = ("name", "version", "state", "kind", "reason")


@click.command(cls=SectionedCommand)
@click.option("--json", "as_json", is_flag=True, help="print each model as a line of JSON")
@address_options
def models(as_json: bool, **parameters: Any) -> None:
    """List the models of the server, with state and kind (budget forcing, engine or other)."""
    server = Server(settings_of(parameters))
    rows = [_row(server, model) for model in server.models]
    server.close()
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    else:
        show(_table(rows))


def _row(server: Server, model: Any) -> dict[str, str]:
    state = model.state or "not loaded"
    kind = server.kind(model.name) if state == "READY" else OTHER
    return {"name": model.name, "version": model.version, "state": state, "kind": kind if state == "READY" else "", "reason": model.reason}


def _table(rows: list[dict[str, str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in COLUMNS))
    return table
