# SPDX-License-Identifier: Apache-2.0
"""What the command ``s1 gateway`` does: settings of its options, and the HTTP server."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from s1_client._access import LOOPBACK
from s1_client._aio import AsyncClient
from s1_client.gateway.access import add_key, read_keys
from s1_client.gateway.app import make_app
from s1_client.gateway.settings import GatewaySettings, is_loopback

NO_KEYS = (
    "--host: on {host} everybody who reaches the port may use the model; allowed: a loopback address, or any address with --keys-file "
    "or --allow-anyone"
)
BACKLOG = 2048  # connections that wait to be accepted, as uvicorn's own default


def new_key(path: Path | None, name: str) -> str:
    """Add a key for ``name`` to the file, and return it. Raises ValueError and OSError as ``add_key``."""
    if path is None:
        raise ValueError("--add-key: no --keys-file is given, allowed: --keys-file FILE with it")
    return add_key(path, name)


def settings_of(
    keys_file: Path | None,
    *,
    host: str,
    port: int,
    allow_anyone: bool,
    allowed_hosts: tuple[str, ...],
    cors_origins: tuple[str, ...],
    max_body_mb: float,
    max_open: int,
    max_priority: int | None = None,
    **rest: Any,
) -> GatewaySettings:
    """Return the settings for the command's options. Raises ValueError that names the option, and OSError for the file of keys."""
    if keys_file is None and not allow_anyone and not is_loopback(host):
        raise ValueError(NO_KEYS.format(host=host))
    names = frozenset(name.lower() for name in allowed_hosts) | (LOOPBACK if is_loopback(host) else frozenset())
    known = ("metrics", "reasoning_field", "first_event_s", "ping_s", "keep_alive_s", "drain_s")
    return GatewaySettings(
        host=host,
        port=port,
        keys=None if keys_file is None else read_keys(keys_file),
        allowed_hosts=names,
        cors_origins=cors_origins,
        max_body_bytes=int(max_body_mb * (1 << 20)),
        max_open_requests=max_open,
        max_priority=0 if max_priority is None and keys_file is not None else max_priority,
        **{name: rest[name] for name in known},
    )


def run(client: AsyncClient, model: str, server: str, settings: GatewaySettings, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``say`` gets the line that the gateway is ready. Raises OSError if the port cannot be had.

    ``server``: the address of the client's server, for that line.
    """
    listening = _listen(settings)
    config = uvicorn.Config(
        make_app(client, model, settings),
        http="httptools",
        loop="asyncio",  # uvloop used as much CPU time: most of it is gRPC's (2026-11-30, 16 streams, 2 cores)
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=int(settings.drain_s),
    )
    signal.signal(signal.SIGTERM, _stop)  # uvicorn raises the signal again when all requests have ended
    with listening, contextlib.suppress(KeyboardInterrupt):
        _Server(config, lambda: say(_ready_line(listening, server))).run(sockets=[listening])


def _stop(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would end the process with another exit code, while it already ends
    raise KeyboardInterrupt


def _listen(settings: GatewaySettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}") from error


def _ready_line(listening: socket.socket, server: str) -> str:
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{port}"
    return f"ready: {address}/ in front of {server}; for OpenAI clients: OPENAI_BASE_URL={address}/v1; Ctrl-C stops"


class _Server(uvicorn.Server):
    """uvicorn's server, which reports when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and report it."""
        await super().startup(sockets)
        if self.started:
            self._ready()
