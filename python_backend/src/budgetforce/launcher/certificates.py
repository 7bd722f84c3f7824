# SPDX-License-Identifier: Apache-2.0
"""The server's certificate, and who trusts it: tried in memory, because Triton says nothing of one that is refused."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from budgetforce.engine.endpoint import read_file
from budgetforce.errors import ConfigError

_NAMES_HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """PEM files: a certificate with its chain, and its private key."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What the server has for TLS; see ``tls_files``.

    Attributes:
        server: what it shows.
        client_ca: PEM file: the authorities, of which clients must show a certificate. None = they need none.
        own: what ``s1`` shows, as a client of its own server.
        name: in the server's certificate.
    """

    server: Pair
    client_ca: Path | None
    own: Pair
    name: str


def tls_files(server: Pair, *, client_ca: Path | None = None, own: Pair | None = None) -> TlsFiles:
    """Files with which ``s1`` can call its engine. Raises ConfigError for others, and says why they do not fit."""
    own = own or server
    for path in (server.cert, server.key, own.cert, own.key, client_ca):
        if path is not None:
            read_file(path)  # the errors of ssl do not say which file is missing
    names = _names(_shake_hands(_server_side(server, client_ca), _client_side(server, own), server.cert, own.cert))
    if not names:
        raise ConfigError(f"{server.cert} names no host: it needs a subjectAltName")
    name = next((name for name in _NAMES_HERE if name in names), names[0])
    return TlsFiles(server=_resolved(server), client_ca=client_ca and client_ca.resolve(), own=_resolved(own), name=name)


def _resolved(pair: Pair) -> Pair:
    return Pair(cert=pair.cert.resolve(), key=pair.key.resolve())


def _server_side(server: Pair, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _show(context, server)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, client_ca)
    return context


def _client_side(server: Pair, own: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the name is what we want to know
    _show(context, own)
    _trust(context, server.cert)
    return context


def _show(context: ssl.SSLContext, pair: Pair) -> None:
    try:
        context.load_cert_chain(pair.cert, pair.key, password=lambda: "")  # or it would ask for one on the terminal
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{pair.cert} and {pair.key} are no certificate and its key, not encrypted: {error}") from None


def _trust(context: ssl.SSLContext, path: Path) -> None:
    """As gRPC and libcurl do: every certificate in the file is a root."""
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{path} holds no certificates: {error}") from None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, server_cert: Path, own_cert: Path) -> Mapping[str, object]:
    """The server's certificate, as its client sees it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for side, looked_at in ((asking, server_cert), (answering, own_cert)) * 2:  # hello and answer, then what each thinks of the other
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        except ssl.SSLError as error:
            hint = "; s1 shows it to its own server (--loopback-cert)" if looked_at is own_cert else ""
            raise ConfigError(f"{looked_at} would be refused: {getattr(error, 'verify_message', error)}{hint}") from None
    return asking.getpeercert() or {}


def _names(certificate: Mapping[str, object]) -> list[str]:
    """Hosts that it is for."""
    names = certificate.get("subjectAltName", ())
    assert isinstance(names, tuple)
    return [value.replace("*", "s1") for kind, value in names if kind == "DNS" or (kind == "IP Address" and ":" not in value)]
