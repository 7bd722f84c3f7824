# SPDX-License-Identifier: Apache-2.0
"""Find out which service listens at an address that does not answer gRPC: most likely another port of Triton's."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from s1_client._settings import Settings

GRPC, HTTP, METRICS, TLS, OTHER_HTTP, SILENT, NOTHING = "gRPC", "HTTP", "metrics", "TLS", "another HTTP server", "silent", "nothing"
_TIMEOUT_S = 2.0
_MAX_ANSWER_BYTES = 65536
_SETTINGS_FRAME = 4  # HTTP/2's first frame, RFC 9113, section 3.4
# Triton's ports are 8000 HTTP, 8001 gRPC, 8002 metrics, or moved together; the offsets lead to the gRPC port.
_TO_GRPC = {HTTP: 1, METRICS: -1}


def advice(settings: Settings) -> str:
    """Return advice after a connection with these settings failed; "" if the service at the address fits them."""
    address, has_tls = settings.address, settings.tls is not None
    found = listener(address)
    if found in _TO_GRPC:
        return f"{address} is Triton's {found} port; {_likely(address, found)}"
    return {
        NOTHING: "start a server (s1 serve, docker compose up), or give the address of a running server: --url, $S1_URL",
        OTHER_HTTP: f"{address} is an HTTP server, and not Triton's; Triton's gRPC port is 8001 by default",
        TLS: "" if has_tls else f"{address} requires TLS: --url grpcs://{address}; --ca FILE ($S1_CA_FILE) names the authority to trust",
        GRPC: f"{address} is a gRPC port without TLS: --url grpc://{address}, without --ca, --cert and --key" if has_tls else "",
    }.get(found, "")


def _likely(address: str, found: str) -> str:
    host, _, port = address.rpartition(":")
    likely = f"{host}:{int(port) + _TO_GRPC[found]}"
    scheme = {GRPC: "", TLS: "grpcs://"}.get(listener(likely) if 0 < int(port) + _TO_GRPC[found] < 65536 else NOTHING)
    if scheme is None:
        return "Triton's gRPC port is 8001 by default"
    return f"gRPC answers at {likely}: --url {scheme}{likely}"


def listener(address: str) -> str:
    """Return the kind of service at "host:port"; waits at most a few seconds."""
    try:
        answer = _answer(address, "/v2")
    except OSError:
        return NOTHING
    if answer[3:4] == bytes([_SETTINGS_FRAME]):
        return GRPC
    if answer.startswith(b"HTTP/1"):
        return _http_port(address, answer)
    return TLS if _has_tls(address) else SILENT


def _http_port(address: str, answer: bytes) -> str:
    with contextlib.suppress(ValueError):
        metadata: Any = json.loads(answer.partition(b"\r\n\r\n")[2])
        if isinstance(metadata, dict) and ("extensions" in metadata or "restricted" in str(metadata.get("error"))):
            return HTTP
    with contextlib.suppress(OSError):
        if b"\nnv_" in _answer(address, "/metrics"):
            return METRICS
    return OTHER_HTTP


def _answer(address: str, path: str) -> bytes:
    """Return the port's response to an HTTP/1.0 request, after which a server closes the connection. Raises OSError."""
    with _connected(address) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(OSError):  # keep the part that has arrived
            while len(answer) < _MAX_ANSWER_BYTES and (more := connection.recv(_MAX_ANSWER_BYTES)):
                answer += more
                if answer[3:4] == bytes([_SETTINGS_FRAME]):
                    break
        return answer


def _has_tls(address: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether it speaks TLS matters
    try:
        with _connected(address) as connection, context.wrap_socket(connection):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _connected(address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S) as connection:
        yield connection
