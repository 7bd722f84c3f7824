# SPDX-License-Identifier: Apache-2.0
"""Access control of the server: TLS and client certificates for gRPC, a shared secret for gRPC and HTTP.

Translates the launcher's options into Triton's flags, and into the settings of model ``s1``, which calls its engine over the
same protected port.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budgetforce.engine.endpoint import RESTRICTED_KEY, SECRET_HEADER, TLS_SCHEME, read_secret
from budgetforce.errors import ConfigError
from budgetforce.launcher.certificates import Pair, TlsFiles, tls_files

RESTRICTED = "inference,model-config,model-repository,shared-memory,statistics,trace,logging"  # all but health and metadata
SECRET_HELP = (
    f"file with one line that requests must carry: gRPC in header {SECRET_HEADER}, HTTP in {RESTRICTED_KEY}; requests for health, "
    "metadata and metrics need none"
)
HTTP_HOST_HELP = "address of HTTP and metrics, which Triton serves without TLS (default: that of --host; with --tls-cert 127.0.0.1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Access rules of a server; by default there are none.

    Attributes:
        tls: certificates for gRPC; None = no TLS.
        secret_file: file with the secret that every request except health and metadata must carry.
        secret: the file's content when it was read.
    """

    tls: TlsFiles | None = None
    secret_file: Path | None = None
    secret: str = field(default="", repr=False)

    def flags(self) -> Iterator[str]:
        """Yield Triton's flags for these rules."""
        if self.tls is not None:
            yield from ("--grpc-use-ssl=true", f"--grpc-server-cert={self.tls.server.cert}", f"--grpc-server-key={self.tls.server.key}")
            if self.tls.client_ca is not None:
                yield from ("--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.tls.client_ca}")
        if self.secret:
            yield from (f"--{flag}={RESTRICTED}:{self._header}" for flag in ("grpc-restricted-protocol", "http-restricted-api"))

    def environment(self, address: str) -> dict[str, str]:
        """Return the variables with which ``s1`` calls the engine on its own server, at ``address``."""
        found = {"S1_ENGINE_URL": address}
        if self.tls is not None:
            found = {"S1_ENGINE_URL": TLS_SCHEME + address, "S1_ENGINE_CA": str(self.tls.server.cert), "S1_ENGINE_NAME": self.tls.name}
            if self.tls.client_ca is not None:
                found |= {"S1_ENGINE_CERT": str(self.tls.own.cert), "S1_ENGINE_KEY": str(self.tls.own.key)}
        return found | ({"S1_ENGINE_SECRET_FILE": str(self.secret_file)} if self.secret else {})

    def client_environment(self, address: str) -> dict[str, str]:
        """Return the variables with which the command ``s1`` on this machine reaches the server."""
        found = {"S1_URL": address}
        if self.tls is not None:
            port = address.rpartition(":")[2]
            found = {"S1_URL": f"{TLS_SCHEME}{self.tls.name}:{port}", "S1_CA_FILE": str(self.tls.server.cert)}
            if self.tls.client_ca is not None:
                found |= {"S1_CERT_FILE": str(self.tls.own.cert), "S1_KEY_FILE": str(self.tls.own.key)}
        return found | ({"S1_SECRET": self._header} if self.secret else {})

    def http_headers(self) -> dict[str, str]:
        """Return the headers that an HTTP request needs."""
        return {RESTRICTED_KEY: self.secret} if self.secret else {}

    @property
    def _header(self) -> str:
        return f"{RESTRICTED_KEY}={self.secret}"


def add_security_options(parser: argparse.ArgumentParser) -> None:
    """Add the launcher's options for access control."""
    group = parser.add_argument_group("security", "By default everybody who reaches the ports may do everything, also load models.")

    def add(flag: str, text: str) -> None:
        group.add_argument(flag, type=Path, metavar="FILE", help=text)

    add("--tls-cert", "certificate for TLS on gRPC (PEM, with its chain)")
    add("--tls-key", "private key of --tls-cert (PEM, not encrypted)")
    add("--tls-client-ca", "authorities that must have signed a client's certificate (PEM); without it clients need none")
    add("--loopback-cert", "client certificate of s1 when it calls its engine, with --tls-client-ca (default: --tls-cert)")
    add("--loopback-key", "private key of --loopback-cert (default: --tls-key)")
    add("--secret-file", SECRET_HELP)
    group.add_argument("--http-host", metavar="HOST", help=HTTP_HOST_HELP)


def security_of(options: argparse.Namespace) -> Security:
    """Build the access rules from the launcher's options. Raises ConfigError for options that do not fit together."""
    secret_file = options.secret_file and options.secret_file.resolve()
    return Security(tls=_tls_of(options), secret_file=secret_file, secret=read_secret(secret_file) if secret_file else "")


def _tls_of(options: argparse.Namespace) -> TlsFiles | None:
    for first, second in (("tls_cert", "tls_key"), ("loopback_cert", "loopback_key")):
        if (getattr(options, first) is None) != (getattr(options, second) is None):
            raise ConfigError(f"{_flag(first)} and {_flag(second)} must be given together")
    for option, needed in (("tls_client_ca", "tls_cert"), ("loopback_cert", "tls_client_ca")):
        if getattr(options, option) is not None and getattr(options, needed) is None:
            raise ConfigError(f"{_flag(option)} needs {_flag(needed)}")
    if options.tls_cert is None:
        return None
    own = options.loopback_cert and Pair(cert=options.loopback_cert, key=options.loopback_key)
    return tls_files(Pair(cert=options.tls_cert, key=options.tls_key), client_ca=options.tls_client_ca, own=own)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
