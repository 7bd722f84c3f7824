# SPDX-License-Identifier: Apache-2.0
"""The address and credentials of an engine's server: TLS settings, client certificate, shared secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from budgetforce.config import OrchestratorConfig
from budgetforce.errors import ConfigError

RESTRICTED_KEY = "s1-secret"  # key name for Triton's --grpc-restricted-protocol and --http-restricted-api
SECRET_HEADER = f"triton-grpc-protocol-{RESTRICTED_KEY}"  # with Triton's prefix for gRPC; over HTTP the key has none
TLS_SCHEME = "grpcs://"
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Za-z:.%]+\]):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS settings, as PEM contents instead of paths: renewing a file must not break the connection of a running server.

    Attributes:
        ca: certificates that verify the server's; the server's own certificate suffices. b"" = libcurl's default.
        name: name in the server's certificate; "" = the host of the address.
        cert, key: client certificate, for a server that requires it. b"" = none.
    """

    ca: bytes = b""
    name: str = ""
    cert: bytes = b""
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The gRPC port of a server, with credentials.

    Attributes:
        address: "host:port".
        tls: TLS settings; None = no TLS.
        secret: secret of the server's restricted protocols; "" = none.
    """

    address: str
    tls: Tls | None = None
    secret: str = field(default="", repr=False)


def load_endpoint(config: OrchestratorConfig) -> Endpoint:
    """Read the files that the configuration names and return the engine's endpoint.

    Raises ConfigError if engine_url is no address, or for a file that cannot be read or has no effect.
    """
    address = _address_of(config.engine_url)
    secret = read_secret(Path(config.engine_secret_file)) if config.engine_secret_file else ""
    if config.engine_url.startswith(TLS_SCHEME):
        return Endpoint(address=address, tls=_tls_of(config), secret=secret)
    unused = [name for name in ("engine_ca", "engine_name", "engine_cert", "engine_key") if getattr(config, name)]
    if unused:
        raise ConfigError(f"parameter '{unused[0]}' is for TLS, but engine_url is '{config.engine_url}', not {TLS_SCHEME}host:port")
    return Endpoint(address=address, secret=secret)


def _address_of(url: str) -> str:
    """Return the URL's host:port. Requires a port: libcurl would assume 80 or 443."""
    address = url.removeprefix(TLS_SCHEME)
    port = _ADDRESS.fullmatch(address)
    if port is None or not 1 <= int(port.group(1)) <= 65535:
        raise ConfigError(f"parameter 'engine_url': got '{url}', allowed: host:port or {TLS_SCHEME}host:port, with a port from 1 to 65535")
    return address


def read_secret(path: Path) -> str:
    """Return the only line of a file. Raises ConfigError if a header cannot hold it."""
    secret = read_file(path).decode("latin-1").removesuffix("\n")
    if not re.fullmatch(r"[!-~]+", secret):
        raise ConfigError(f"{path}: allowed: one line of printable ASCII without spaces")
    return secret


def _tls_of(config: OrchestratorConfig) -> Tls:
    if bool(config.engine_cert) != bool(config.engine_key):
        raise ConfigError("parameters 'engine_cert' and 'engine_key' come together")
    files = {name: getattr(config, f"engine_{name}") for name in ("ca", "cert", "key")}
    return Tls(name=config.engine_name, **{name: read_file(Path(file)) for name, file in files.items() if file})


def read_file(path: Path) -> bytes:
    """Return a file's contents. Raises ConfigError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
