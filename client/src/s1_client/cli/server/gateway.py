# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 gateway``: serve OpenAI's API in front of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from s1_client._access import TENANT_SECRET_HEADER, checked_value
from s1_client._settings import DEFAULT_URL
from s1_client._suggest import how_to_install
from s1_client.cli.options import SectionedCommand, connect_async, deadline_options
from s1_client.cli.output import echo


@click.command(cls=SectionedCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on; the default is this machine only")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="TCP port; 0 = any free port")
@click.option("--keys-file", type=click.Path(path_type=Path), metavar="FILE", help="API keys: a line each, a name and the key's SHA-256")
@click.option("--add-key", metavar="NAME", help="add a new key for NAME to --keys-file, print the key, and end")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="the server's secret, as its --secret-file holds it (default: $S1_SECRET)",
)
@click.option(
    "--tenant-secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="the server's secret for naming tenants, as its --tenant-secret-file holds it; a key's name is the tenant of its requests",
)
@click.option("--allow-anyone", is_flag=True, help="listen on other addresses than this machine's without keys")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="further host name that callers may use (repeatable); without it loopback takes its own names, any other address all names",
)
@click.option(
    "--cors-origin", "cors_origins", multiple=True, metavar="URL", help="origin whose web pages may call (repeatable; default: none)"
)
@click.option(
    "--metrics",
    type=click.Choice(["keys", "open", "off"]),
    default="keys",
    show_default=True,
    help="who may read /metrics: callers with a key (everybody where there are none), everybody, or nobody",
)
@click.option(
    "--reasoning-field",
    type=click.Choice(["reasoning_content", "reasoning"]),
    default="reasoning_content",
    show_default=True,
    help="name of the thought in chat replies",
)
@click.option("--max-body-mb", type=click.FloatRange(min=0, min_open=True), default=4, show_default=True, help="largest body of a request")
@click.option(
    "--max-open", type=click.IntRange(min=1), default=256, show_default=True, help="open requests of a key, or of all callers without keys"
)
@click.option(
    "--max-priority",
    type=int,
    metavar="N",
    help="highest priority of a request, which stands above tenants (default: 0 with --keys-file, else any)",
)
@click.option(
    "--first-event-s",
    type=click.FloatRange(min=0, min_open=True),
    default=5,
    show_default=True,
    help="seconds that a stream waits for the server's first event; until then it can be refused with a status",
)
@click.option(
    "--ping-s",
    type=click.FloatRange(min=0, min_open=True),
    default=15,
    show_default=True,
    help="seconds of silence after which a stream gets a comment",
)
@click.option(
    "--keep-alive-s",
    type=click.IntRange(min=1),
    default=120,
    show_default=True,
    help="seconds after which a connection without a request is closed; longer than a proxy in front keeps its own, else requests get lost",
)
@click.option(
    "--drain-s", type=click.IntRange(min=1), default=30, show_default=True, help="seconds that open requests have when the gateway stops"
)
@deadline_options
def gateway(
    keys_file: Path | None, secret_file: Path | None, tenant_secret_file: Path | None, add_key: str | None, **parameters: Any
) -> None:
    """Serve OpenAI's API (chat, responses, completions) and a web page, in front of a server.

    Point any OpenAI client at it: OPENAI_BASE_URL=http://127.0.0.1:8080/v1
    """
    try:
        from s1_client.gateway import command
    except ImportError as error:
        raise click.ClickException(f"{error}; the gateway needs more packages: {how_to_install('gateway')}") from error
    try:
        if add_key is not None:
            echo(command.new_key(keys_file, add_key))
            return
        secret, tenant_secret = _secret_in("--secret-file", secret_file), _secret_in("--tenant-secret-file", tenant_secret_file)
        metadata = {} if tenant_secret is None else {TENANT_SECRET_HEADER: tenant_secret}
        settings = command.settings_of(keys_file, **parameters)
        command.run(connect_async(parameters, secret, metadata), parameters["model"], parameters["url"] or DEFAULT_URL, settings, echo)
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error


def _secret_in(option: str, path: Path | None) -> str | None:
    """Return the secret in a file. Raises ValueError that names option and file, OSError that names the file."""
    if path is None:
        return None
    try:
        return checked_value(f"{option}: {path}", path.read_text().strip())
    except UnicodeDecodeError:
        raise ValueError(f"{option}: {path}: is no text") from None
