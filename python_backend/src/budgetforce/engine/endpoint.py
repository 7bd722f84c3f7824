# SPDX-License-Identifier: Apache-2.0
"""Where an engine's server listens, and what it takes to be heard there: TLS, our own certificate, the shared secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from budgetforce.config import OrchestratorConfig
from budgetforce.errors import ConfigError

RESTRICTED_KEY = "s1-secret"  # of Triton's --grpc-restricted-protocol and --http-restricted-api
SECRET_HEADER = f"triton-grpc-protocol-{RESTRICTED_KEY}"  # Triton's prefix; over HTTP it is the key alone
TLS_SCHEME = "grpcs://"
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Za-z:.%]+\]):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What is trusted and shown. PEM, not files: who renews a file must not break the connection of a server that has read it.

    Attributes:
        ca: certificates that vouch for the server's; the very one will do. b"" = what libcurl trusts.
        name: that the server's certificate has, where it is not the address's host.
        cert, key: shown to a server that asks for a certificate. b"" = none.
    """

    ca: bytes = b""
    name: str = ""
    cert: bytes = b""
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's gRPC port.

    Attributes:
        address: "host:port".
        tls: None = none.
        secret: of the server's restricted protocols. "" = none.
    """

    address: str
    tls: Tls | None = None
    secret: str = field(default="", repr=False)


def load_endpoint(config: OrchestratorConfig) -> Endpoint:
    """Return the engine's endpoint, with its files read.

    Raises ConfigError if engine_url is not an address, or for a file that cannot be read or would have no effect.
    """
    address = _address_of(config.engine_url)
    secret = read_secret(Path(config.engine_secret_file)) if config.engine_secret_file else ""
    if config.engine_url.startswith(TLS_SCHEME):
        return Endpoint(address=address, tls=_tls_of(config), secret=secret)
    idle = [name for name in ("engine_ca", "engine_name", "engine_cert", "engine_key") if getattr(config, name)]
    if idle:
        raise ConfigError(f"parameter '{idle[0]}' is for TLS, but engine_url is '{config.engine_url}' and not {TLS_SCHEME}host:port")
    return Endpoint(address=address, secret=secret)


def _address_of(url: str) -> str:
    """What is behind the scheme. A missing port would be taken as 80 or 443."""
    address = url.removeprefix(TLS_SCHEME)
    port = _ADDRESS.fullmatch(address)
    if port is None or not 1 <= int(port.group(1)) <= 65535:
        raise ConfigError(f"parameter 'engine_url': got '{url}', allowed: host:port or {TLS_SCHEME}host:port, with a port from 1 to 65535")
    return address


def read_secret(path: Path) -> str:
    """The one line of a file. Raises ConfigError for one that no header could hold."""
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
    """Raises ConfigError for one that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
