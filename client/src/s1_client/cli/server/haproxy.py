# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 haproxy``: print a HAProxy configuration for several replicas."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from s1_client.cli.options import SectionedCommand
from s1_client.cli.output import clean, echo
from s1_client.cli.server.haproxy_config import READY_PORT, check_replicas, check_word, read_listen, read_replica, render

T = TypeVar("T")
_CHECK_S = 30


@click.command(cls=SectionedCommand)
@click.option(
    "--replica",
    "replicas",
    multiple=True,
    required=True,
    metavar="HOST:GRPC_PORT[:READY_PORT]",
    help=f"a server, with the ports of its --grpc-port and --ready-port (default of the latter: {READY_PORT}; repeatable)",
)
@click.option(
    "--listen",
    default="8001",
    show_default=True,
    metavar="[HOST:]PORT",
    help="where clients connect, on this machine only; *:PORT = from anywhere",
)
@click.option(
    "--metrics-listen", metavar="[HOST:]PORT", help="where HAProxy publishes its own metrics for Prometheus, at /metrics (default: nowhere)"
)
@click.option(
    "--longest-s",
    type=click.IntRange(60, 604_800),
    default=7200,
    show_default=True,
    help="seconds that a request takes at most, queue included: so long HAProxy remembers its replica, and bears silence",
)
@click.option(
    "--check-ms",
    type=click.IntRange(100, 60_000),
    default=500,
    show_default=True,
    help="milliseconds between two checks of a replica; two that fail count, and the launcher's --lame-duck-s must be longer than both",
)
@click.option("--tls-cert", metavar="FILE", help="PEM file of certificate and private key, on HAProxy's machine: clients connect with TLS")
@click.option(
    "--replica-ca", metavar="FILE", help="PEM file of the authority of the replicas' certificates: HAProxy connects to them with TLS"
)
def haproxy(replicas: tuple[str, ...], **options: str | int | None) -> None:
    """Print a HAProxy configuration: requests go to the least loaded replica, commands to the replica of their request.

    s1 haproxy --replica gpu1:8001:8003 --replica gpu2:8001:8003 --listen "*:8001" > haproxy.cfg

    If a program haproxy is on PATH, it checks the configuration.
    """
    servers = [_checked("--replica", read_replica, text, number) for number, text in enumerate(replicas, 1)]
    _checked("--replica", check_replicas, servers)
    for name, check in (("listen", read_listen), ("metrics_listen", read_listen), ("tls_cert", check_word), ("replica_ca", check_word)):
        if options[name] is not None:
            options[name] = _checked(f"--{name.replace('_', '-')}", check, str(options[name]))
    text = render(servers, command=_command_line(), **options)  # type: ignore[arg-type]  # click has checked the numbers
    echo(_verdict(text), err=True)
    click.echo(clean(text), nl=False)


def _checked(option: str, check: Callable[..., T], *values: object) -> T:
    try:
        return check(*values)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from error


def _command_line() -> str:
    """Return the command line, in which a line break cannot end the comment that holds it."""
    return shlex.join(["s1", *sys.argv[1:]]).replace("\n", " ").replace("\r", " ")


def _verdict(text: str) -> str:
    """Return the sentence about HAProxy's own check of the configuration. Raises ClickException if HAProxy refuses it."""
    program = shutil.which("haproxy")
    if program is None:
        return "not checked by HAProxy, which is not on PATH here: haproxy -c -f FILE"
    try:
        done, file = _checked_by(program, text)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not checked by HAProxy ({error}): haproxy -c -f FILE"
    if done.returncode:
        raise click.ClickException(f"{program} refuses the configuration:\n{(done.stdout + done.stderr).replace(str(file), 'FILE')}")
    return f"checked by {program} -c"


def _checked_by(program: str, text: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Return what HAProxy says of the configuration, and the file that it names."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "haproxy.cfg"
        file.write_text(text.replace("default-server ", "default-server init-addr none ", 1))  # names of hosts may be unknown here
        done = subprocess.run([program, "-c", "-f", str(file)], capture_output=True, text=True, timeout=_CHECK_S, check=False)
    return done, file
