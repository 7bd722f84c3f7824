# SPDX-License-Identifier: Apache-2.0
"""Access control of the server: TLS and client certificates for gRPC, a secret of the clients and one of the launcher for gRPC and HTTP.

Translates the launcher's options into Triton's flags, and into the settings of model ``s1``, which calls its engine over the
same protected port.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budgetforce.engine.endpoint import RESTRICTED_KEY, SECRET_HEADER, TLS_SCHEME, read_secret
from budgetforce.errors import ConfigError
from budgetforce.launcher.certificates import Pair, TlsFiles, tls_files

ADMIN_KEY = "s1-admin"
# Triton's groups of requests. Health and metadata are in none, so everybody may send them.
OF_CLIENTS = "inference,model-config,statistics"  # the last two only read; s1 doctor and perf_analyzer need them
OF_LAUNCHER = "model-repository,shared-memory,trace,logging"
SECRET_HELP = (
    f"file with one line that requests must carry: gRPC in header {SECRET_HEADER}, HTTP in {RESTRICTED_KEY}; requests for health, "
    "metadata and metrics need none. It does not allow loading a model: only the launcher may do that, by a random secret"
)
TENANT_HELP = (
    "file with one line that must come with a tenant's name, in header s1-tenant-secret, so that only a gateway that has the file names "
    "tenants (default: every client may)"
)
HTTP_HOST_HELP = "address of HTTP and metrics, which Triton serves without TLS (default: that of --host; with --tls-cert 127.0.0.1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Access rules of a server; by default everybody may infer, and only the launcher may change the server.

    Attributes:
        tls: certificates for gRPC; None = no TLS.
        secret_file: file with the secret of the clients: every request except health and metadata must carry it.
        secret: the file's content when it was read.
        admin_secret: what a request must carry that loads a model, maps shared memory, or changes logs and traces. It is made anew for
            each server, so that nobody else knows it: a request that loads a model can bring the model's code along.
    """

    tls: TlsFiles | None = None
    secret_file: Path | None = None
    secret: str = field(default="", repr=False)
    admin_secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    def flags(self) -> Iterator[str]:
        """Yield Triton's flags for these rules."""
        if self.tls is not None:
            yield from ("--grpc-use-ssl=true", f"--grpc-server-cert={self.tls.server.cert}", f"--grpc-server-key={self.tls.server.key}")
            if self.tls.client_ca is not None:
                yield from ("--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.tls.client_ca}")
        rules = [f"{OF_CLIENTS}:{self._header}"] if self.secret else []
        for rule in (*rules, f"{OF_LAUNCHER}:{ADMIN_KEY}={self.admin_secret}"):
            yield from (f"--grpc-restricted-protocol={rule}", f"--http-restricted-api={rule}")

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

    def admin_headers(self) -> dict[str, str]:
        """Return the headers of an HTTP request that looks into the server or changes it."""
        return {ADMIN_KEY: self.admin_secret}

    @property
    def _header(self) -> str:
        return f"{RESTRICTED_KEY}={self.secret}"


def add_security_options(parser: argparse.ArgumentParser) -> None:
    """Add the launcher's options for access control."""
    group = parser.add_argument_group(
        "security", "By default everybody who reaches the ports may infer. Only the launcher may load models."
    )

    def add(flag: str, text: str) -> None:
        group.add_argument(flag, type=Path, metavar="FILE", help=text)

    add("--tls-cert", "certificate for TLS on gRPC (PEM, with its chain)")
    add("--tls-key", "private key of --tls-cert (PEM, not encrypted)")
    add("--tls-client-ca", "authorities that must have signed a client's certificate (PEM); without it clients need none")
    add("--loopback-cert", "client certificate of s1 when it calls its engine, with --tls-client-ca (default: --tls-cert)")
    add("--loopback-key", "private key of --loopback-cert (default: --tls-key)")
    add("--secret-file", SECRET_HELP)
    add("--tenant-secret-file", TENANT_HELP)
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
