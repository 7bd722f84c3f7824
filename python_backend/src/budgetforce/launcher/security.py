# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the server: TLS and client certificates for gRPC, a shared secret for gRPC and HTTP.

Triton's flags for it, and what those ask of its own model ``s1``, which calls its engine on the same port.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budgetforce.engine.endpoint import RESTRICTED_KEY, TLS_SCHEME, read_secret
from budgetforce.errors import ConfigError
from budgetforce.launcher.certificates import Pair, TlsFiles, tls_files

RESTRICTED = "inference,model-config,model-repository,shared-memory,statistics,trace,logging"  # all but health and metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a server demands; by default nothing.

    Attributes:
        tls: None = none.
        secret_file: holds the secret that all requests but those for health and metadata must carry.
        secret: what it held when it was read.
    """

    tls: TlsFiles | None = None
    secret_file: Path | None = None
    secret: str = field(default="", repr=False)

    def flags(self) -> Iterator[str]:
        """Triton's."""
        if self.tls is not None:
            yield from ("--grpc-use-ssl=true", f"--grpc-server-cert={self.tls.server.cert}", f"--grpc-server-key={self.tls.server.key}")
            if self.tls.client_ca is not None:
                yield from ("--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.tls.client_ca}")
        if self.secret:
            yield from (f"--{flag}={RESTRICTED}:{self._header}" for flag in ("grpc-restricted-protocol", "http-restricted-api"))

    def environment(self, address: str) -> dict[str, str]:
        """How ``s1`` calls the engine on its own server, at ``address``; the variables of its config."""
        found = {"S1_ENGINE_URL": address}
        if self.tls is not None:
            found = {"S1_ENGINE_URL": TLS_SCHEME + address, "S1_ENGINE_CA": str(self.tls.server.cert), "S1_ENGINE_NAME": self.tls.name}
            if self.tls.client_ca is not None:
                found |= {"S1_ENGINE_CERT": str(self.tls.own.cert), "S1_ENGINE_KEY": str(self.tls.own.key)}
        return found | ({"S1_ENGINE_SECRET_FILE": str(self.secret_file)} if self.secret else {})

    def client_environment(self, address: str) -> dict[str, str]:
        """The same for a client of ours on this machine."""
        found = {"S1_URL": address}
        if self.tls is not None:
            port = address.rpartition(":")[2]
            found = {"S1_URL": f"{TLS_SCHEME}{self.tls.name}:{port}", "S1_CA_FILE": str(self.tls.server.cert)}
            if self.tls.client_ca is not None:
                found |= {"S1_CERT_FILE": str(self.tls.own.cert), "S1_KEY_FILE": str(self.tls.own.key)}
        return found | ({"S1_SECRET": self._header} if self.secret else {})

    def http_headers(self) -> dict[str, str]:
        """What a request over HTTP needs."""
        return {RESTRICTED_KEY: self.secret} if self.secret else {}

    @property
    def _header(self) -> str:
        return f"{RESTRICTED_KEY}={self.secret}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The launcher's options for it."""
    group = parser.add_argument_group("security", "By default whoever reaches the ports may do everything, load models included.")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="gRPC speaks TLS with this certificate (PEM, with its chain)")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="and its private key (PEM, not encrypted)")
    group.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="clients must show a certificate of these authorities (PEM)")
    group.add_argument("--loopback-cert", type=Path, metavar="FILE", help="what s1 shows then, calling its engine (default: --tls-cert)")
    group.add_argument("--loopback-key", type=Path, metavar="FILE", help="and its private key (default: --tls-key)")
    group.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help=f"one line, which requests must carry: gRPC in header triton-grpc-protocol-{RESTRICTED_KEY}, HTTP in {RESTRICTED_KEY}; "
        "health and metadata need it not, nor do metrics",
    )
    group.add_argument(
        "--http-host",
        metavar="HOST",
        help="address of HTTP and metrics, which Triton serves without TLS (default: that of --host; with --tls-cert 127.0.0.1)",
    )


def security_of(options: argparse.Namespace) -> Security:
    """What the launcher's options ask for. Raises ConfigError."""
    secret_file = options.secret_file and options.secret_file.resolve()
    return Security(tls=_tls_of(options), secret_file=secret_file, secret=read_secret(secret_file) if secret_file else "")


def _tls_of(options: argparse.Namespace) -> TlsFiles | None:
    for first, second in (("tls_cert", "tls_key"), ("loopback_cert", "loopback_key")):
        if (getattr(options, first) is None) != (getattr(options, second) is None):
            raise ConfigError(f"{_flag(first)} and {_flag(second)} come together")
    for option, needed in (("tls_client_ca", "tls_cert"), ("loopback_cert", "tls_client_ca")):
        if getattr(options, option) is not None and getattr(options, needed) is None:
            raise ConfigError(f"{_flag(option)} needs {_flag(needed)}")
    if options.tls_cert is None:
        return None
    own = options.loopback_cert and Pair(cert=options.loopback_cert, key=options.loopback_key)
    return tls_files(Pair(cert=options.tls_cert, key=options.tls_key), client_ca=options.tls_client_ca, own=own)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
