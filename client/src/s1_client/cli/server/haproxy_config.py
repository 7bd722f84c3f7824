# SPDX-License-Identifier: Apache-2.0
"""Write HAProxy's configuration for several replicas. No file is read or written here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from s1_client._access import LOOPBACK, is_host, is_port

READY_PORT = 8003  # of a replica that names none
NUM_STREAMS = 4096  # of a connection; the launcher's limits are 256 running and 1,024 waiting requests a replica
_WORD = re.compile(r"[^\s\"'\\#$]+")  # HAProxy reads any other character as syntax


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica: ``s1`` and its engine, in one launcher.

    Attributes:
        name: in HAProxy's log, metrics and the header x-replica.
        host: name or address; IPv6 in brackets.
        grpc_port, ready_port: TCP ports, the launcher's --grpc-port and --ready-port.
    """

    name: str
    host: str
    grpc_port: int
    ready_port: int


def read_replica(text: str, number: int) -> Replica:
    """Return the replica of "HOST:GRPC_PORT" or "HOST:GRPC_PORT:READY_PORT", named by its number, from 1.

    Raises ValueError for anything else.
    """
    host, grpc_port, ready_port = _split(text)
    replica = Replica(name=f"r{number}", host=host, grpc_port=_port(text, grpc_port), ready_port=_port(text, ready_port))
    if replica.grpc_port == replica.ready_port:
        raise ValueError(f"got '{text}': gRPC and readiness have the same port, allowed: two ports of the replica")
    return replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A process of ``s1 gateway``: its name in HAProxy, its host (IPv6 in brackets) and its TCP port."""

    name: str
    host: str
    port: int


def read_gateway(text: str, number: int) -> Gateway:
    """Return the gateway of "HOST:PORT", named by its number, from 1. Raises ValueError for anything else."""
    host, _, port = text.rpartition(":")
    if "://" in text or not is_host(host):
        raise ValueError(f"got '{text}', allowed: HOST:PORT, an IPv6 address in brackets")
    return Gateway(name=f"g{number}", host=host, port=_port(text, port))


def _split(text: str) -> tuple[str, str, str]:
    host, colon, last = text.rpartition(":")
    before, _, middle = host.rpartition(":")
    has_both = bool(before) and not host.endswith("]")
    parts = (before, middle, last) if has_both else (host, last, str(READY_PORT))
    if not colon or "://" in text or not is_host(parts[0]):
        raise ValueError(f"got '{text}', allowed: HOST:GRPC_PORT or HOST:GRPC_PORT:READY_PORT, an IPv6 address in brackets")
    return parts


def _port(text: str, port: str) -> int:
    if not is_port(port):
        raise ValueError(f"got '{text}': a port is a number from 1 to 65535, not '{port[:20]}'")
    return int(port)


def read_listen(text: str) -> str:
    """Return the address "HOST:PORT" of "PORT" (this machine only), "HOST:PORT" or "*:PORT". Raises ValueError for anything else."""
    host, _, port = text.rpartition(":")
    if host not in ("", "*") and not is_host(host):
        raise ValueError(f"got '{text}', allowed: PORT, HOST:PORT or *:PORT, an IPv6 address in brackets")
    return f"{host or '127.0.0.1'}:{_port(text, port)}"


def check_word(text: str) -> str:
    """Return a path that HAProxy reads as a single word. Raises ValueError for any other."""
    if not _WORD.fullmatch(text):
        raise ValueError(f"got '{text}', allowed: a path without white space, quotes, backslash, # and $")
    return text


def check_replicas(replicas: Sequence[Replica]) -> None:
    """Raise ValueError if two replicas have the same address."""
    _check_addresses("replica", [(replica.host, replica.grpc_port) for replica in replicas])


def check_gateways(gateways: Sequence[Gateway]) -> None:
    """Raise ValueError if two gateways have the same address."""
    _check_addresses("gateway", [(gateway.host, gateway.port) for gateway in gateways])


def check_apart(gateways: Sequence[Gateway], http_listen: str) -> None:
    """Raise ValueError if a gateway on this machine has the port on which HAProxy listens for its callers."""
    port = int(http_listen.rpartition(":")[2])
    for gateway in gateways:
        if gateway.host in LOOPBACK and gateway.port == port:
            raise ValueError(f"got port {port}, which is that of gateway {gateway.host}:{port} on this machine, allowed: another port")


def _check_addresses(kind: str, addresses: Sequence[tuple[str, int]]) -> None:
    for at, (host, port) in enumerate(addresses):
        if (host, port) in addresses[:at]:
            raise ValueError(f"got {host}:{port} twice, allowed: each {kind} once")


def render(
    replicas: Sequence[Replica],
    gateways: Sequence[Gateway],
    *,
    command: str,
    listen: str,
    http_listen: str | None,
    metrics_listen: str | None,
    longest_s: int,
    check_ms: int,
    tls_cert: str | None,
    http_tls_cert: str | None,
    replica_ca: str | None,
) -> str:
    """Return the configuration.

    ``http_listen``: needed with gateways. ``command``: the command line that made it, for its first lines; the other values are checked.
    """
    environment = Environment(  # noqa: S701  # no HTML: every value is checked to be a word of HAProxy's syntax
        loader=PackageLoader("s1_client.cli.server"), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    server_tls = f"ssl verify required ca-file {replica_ca} alpn h2 " if replica_ca else ""
    return environment.get_template("haproxy.cfg").render(
        replicas=replicas,
        gateways=gateways,
        http_listen=http_listen,
        command=command,
        listen=listen,
        metrics_listen=metrics_listen,
        longest_s=longest_s,
        check_ms=check_ms,
        tls_cert=tls_cert,
        http_tls_cert=http_tls_cert,
        replica_ca=replica_ca,
        server_tls=server_tls,
        streams=NUM_STREAMS,
    )
