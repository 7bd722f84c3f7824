# SPDX-License-Identifier: Apache-2.0
"""Check the server's certificates with a TLS handshake in memory, because Triton does not report a certificate that is rejected."""

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
    """Two PEM files: a certificate with its chain, and its private key."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A server's files for TLS, checked by ``tls_files``.

    Attributes:
        server: certificate and key of the server.
        client_ca: PEM file with the authorities that clients' certificates must be signed by. None = clients need no certificate.
        own: certificate and key of ``s1`` as a client of its own server.
        name: a host name in the server's certificate.
    """

    server: Pair
    client_ca: Path | None
    own: Pair
    name: str


def tls_files(server: Pair, *, client_ca: Path | None = None, own: Pair | None = None) -> TlsFiles:
    """Return the files if ``s1`` can call its engine with them. Raises ConfigError with the reason if it cannot."""
    own = own or server
    for path in (server.cert, server.key, own.cert, own.key, client_ca):
        if path is not None:
            read_file(path)  # errors of ssl do not name the missing file
    names = _names(_shake_hands(_server_side(server, client_ca), _client_side(server, own), server.cert, own.cert))
    if not names:
        raise ConfigError(f"{server.cert} names no host: it needs a subjectAltName")
    name = next((name for name in _NAMES_HERE if name in names), names[0])
    return TlsFiles(server=_resolved(server), client_ca=client_ca and client_ca.resolve(), own=_resolved(own), name=name)


def _resolved(pair: Pair) -> Pair:
    return Pair(cert=pair.cert.resolve(), key=pair.key.resolve())


def _server_side(server: Pair, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, server)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust_file(context, client_ca)
    return context


def _client_side(server: Pair, own: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the name is yet to be read from the certificate
    _load_pair(context, own)
    _trust_file(context, server.cert)
    return context


def _load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    try:
        context.load_cert_chain(pair.cert, pair.key, password=lambda: "")  # else OpenSSL asks for a password on the terminal
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{pair.cert} and {pair.key} are not a certificate and its unencrypted key: {error}") from None


def _trust_file(context: ssl.SSLContext, path: Path) -> None:
    """Trust every certificate in the file as a root, as gRPC and libcurl do."""
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{path} holds no certificates: {error}") from None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, server_cert: Path, own_cert: Path) -> Mapping[str, object]:
    """Return the server's certificate as its client sees it. Raises ConfigError if either side rejects the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for side, checked in ((client_side, server_cert), (server_side, own_cert)) * 2:  # twice: hellos, then verification
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        except ssl.SSLError as error:
            hint = "; s1 presents it to its own server (--loopback-cert)" if checked is own_cert else ""
            raise ConfigError(f"{checked} would be rejected: {getattr(error, 'verify_message', error)}{hint}") from None
    return client_side.getpeercert() or {}


def _names(certificate: Mapping[str, object]) -> list[str]:
    """Return the host names of a certificate."""
    names = certificate.get("subjectAltName", ())
    assert isinstance(names, tuple)
    return [value.replace("*", "s1") for kind, value in names if kind == "DNS" or (kind == "IP Address" and ":" not in value)]
