# SPDX-License-Identifier: Apache-2.0
"""The TCP ports of a Triton server: choosing free ones, and finding those that another program has."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from dataclasses import dataclass

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # only compared with
# Below the system's ephemeral ports: another process could get such a port before Triton binds it.
_PORTS = range(10_000, 32_768)
_TRIES = 100
_ANY = random.SystemRandom()  # libraries seed the global one; two programs would then choose the same ports at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """A server's TCP ports: gRPC on ``host``, HTTP and metrics on ``http_host``."""

    http: int
    grpc: int
    metrics: int
    host: str = "127.0.0.1"
    http_host: str = "127.0.0.1"

    @property
    def here(self) -> str:
        """Address of gRPC for clients on this machine."""
        return f"{'127.0.0.1' if self.host == _ANY_ADDRESS else self.host}:{self.grpc}"

    def listening(self) -> dict[str, tuple[str, int]]:
        """Return each listening address by Triton's name for it."""
        return {"http": (self.http_host, self.http), "grpc": (self.host, self.grpc), "metrics": (self.http_host, self.metrics)}


def choose_ports(*, http: int, grpc: int, metrics: int, host: str = "127.0.0.1", http_host: str | None = None) -> Ports:
    """Return the given ports, with a free port in place of each 0. Raises OSError if none is free."""
    with contextlib.ExitStack() as stack:  # all bound at the same time, so that they differ
        free = [_bound(stack.enter_context(socket.socket()), host) for _ in range(3)]
    return Ports(http=http or free[0], grpc=grpc or free[1], metrics=metrics or free[2], host=host, http_host=http_host or host)


def _bound(sock: socket.socket, host: str) -> int:
    for port in _ANY.sample(_PORTS, _TRIES):
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    raise OSError(f"{host}: no free port found from {_PORTS.start} to {_PORTS.stop - 1}")


def why_unusable(ports: Ports) -> str | None:
    """Return a sentence about a port that cannot be listened on, and the option that chooses another; None if all can."""
    for name, (host, port) in ports.listening().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                return f"port {port} on {host} cannot be used: {error.strerror}; choose another by --{name}-port, 0 is any free port"
    return None
