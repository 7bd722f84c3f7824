# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 haproxy``: print a HAProxy configuration for several replicas."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from s1_client.cli.options import SectionedCommand
from s1_client.cli.output import clean, echo
from s1_client.cli.server.haproxy_config import (
    READY_PORT,
    Gateway,
    check_apart,
    check_gateways,
    check_replicas,
    check_word,
    read_gateway,
    read_listen,
    read_replica,
    render,
)

T = TypeVar("T")
_CHECK_S = 30
_CHECKS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(("listen", "http_listen", "metrics_listen"), read_listen),
    **dict.fromkeys(("tls_cert", "http_tls_cert", "replica_ca"), check_word),
}
HTTP_PORT = "8080"  # of the gateways, as that of s1 gateway


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
    "--gateway",
    "gateways",
    multiple=True,
    metavar="HOST:PORT",
    help="a process of s1 gateway, for OpenAI's API over HTTP at --http-listen; its --url is the address of --listen (repeatable)",
)
@click.option(
    "--http-listen",
    metavar="[HOST:]PORT",
    help="where callers of the gateways connect; *:PORT = from anywhere (default: the port of s1 gateway, 8080)",
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
@click.option("--http-tls-cert", metavar="FILE", help="such a file for --http-listen: callers of the gateways use https")
@click.option(
    "--replica-ca", metavar="FILE", help="PEM file of the authority of the replicas' certificates: HAProxy connects to them with TLS"
)
def haproxy(replicas: tuple[str, ...], gateways: tuple[str, ...], **options: str | int | None) -> None:
    """Print a HAProxy configuration: requests go to the least loaded replica, commands to the replica of their request.

    s1 haproxy --replica gpu1:8001:8003 --replica gpu2:8001:8003 --listen "*:8001" > haproxy.cfg

    If a program haproxy is on PATH, it checks the configuration.
    """
    servers = [_checked("--replica", read_replica, text, number) for number, text in enumerate(replicas, 1)]
    _checked("--replica", check_replicas, servers)
    doors = [_checked("--gateway", read_gateway, text, number) for number, text in enumerate(gateways, 1)]
    _checked("--gateway", check_gateways, doors)
    options["http_listen"] = _http_listen(doors, options)
    for name, check in _CHECKS.items():
        if options[name] is not None:
            options[name] = _checked(f"--{name.replace('_', '-')}", check, str(options[name]))
    if options["http_listen"] is not None:
        _checked("--http-listen", check_apart, doors, options["http_listen"])
    text = render(servers, doors, command=_command_line(), **options)  # type: ignore[arg-type]  # click has checked the numbers
    echo(_verdict(text), err=True)
    click.echo(clean(text), nl=False)


def _http_listen(gateways: Sequence[Gateway], options: Mapping[str, str | int | None]) -> str | int | None:
    """Return where HTTP is served, or None for nowhere. Raises UsageError for an option without a gateway, which alone could answer."""
    for name in ("http_listen", "http_tls_cert"):
        if options[name] is not None and not gateways:
            raise click.UsageError(f"--{name.replace('_', '-')}: needs --gateway, the process that answers there")
    return HTTP_PORT if gateways and options["http_listen"] is None else options["http_listen"]


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
        file.write_text(re.sub(r"^  default-server ", r"\g<0>init-addr none ", text, flags=re.M))  # names of hosts may be unknown here
        done = subprocess.run([program, "-c", "-f", str(file)], capture_output=True, text=True, timeout=_CHECK_S, check=False)
    return done, file
