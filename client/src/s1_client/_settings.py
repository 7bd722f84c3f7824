# SPDX-License-Identifier: Apache-2.0
"""Settings of a client: the server's address, access and limits. Opens no connection.

Environment variables, used where an argument is not given (unless ``trust_env`` is False):

    S1_URL          address: host:port, grpc://host:port, or grpcs://host:port for TLS
    S1_TOKEN        bearer token for a gateway in front of Triton
    S1_SECRET       secret of Triton's restricted protocol: the launcher's (its value alone), or "name=value"
    S1_TENANT       tenant whose requests these are
    S1_CA_FILE      certificates of the authorities to trust (PEM), instead of the system's
    S1_CERT_FILE    the client's certificate (PEM), for mutual TLS
    S1_KEY_FILE     its private key (PEM)
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s1_client._access import SECRET_HEADER, TENANT_HEADER, headers_of, is_loopback, is_tenant, is_text, read_url

DEFAULT_URL = "127.0.0.1:8001"
DEADLINE_S = 3600.0  # 32,000 tokens of thinking at 10 tokens/s
CONNECT_TIMEOUT_S = 5.0
MAX_RETRIES = 2
KEEPALIVE_S = 30.0  # NATs and load balancers drop connections that are idle for some minutes
KEEPALIVE_TIMEOUT_S = 20.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 8.0
_MAX_RETRY_AFTER_S = 120.0
_LEAST_S = {"deadline_s": 0.001, "connect_timeout_s": 0.1, "keepalive_s": 0.001}  # gRPC would round less up
_MOST_S = 2_147_483  # gRPC counts milliseconds in 32 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """Certificates of a TLS connection, as PEM files. ``TLS()`` trusts the authorities that gRPC trusts by default.

        Client("grpcs://gpu1:8001", tls=TLS(ca_file="ca.pem"))

    Attributes:
        ca_file: certificates of the authorities to trust.
        cert_file, key_file: the client's certificate and private key, if the server asks for them (mutual TLS).
        server_name: the name in the server's certificate, if the address has another.
    """

    ca_file: str | os.PathLike[str] | None = None
    cert_file: str | os.PathLike[str] | None = None
    key_file: str | os.PathLike[str] | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file come together")
        for name in ("ca_file", "cert_file", "key_file"):
            file = getattr(self, name)
            if not isinstance(file, str | os.PathLike | None) or not str(file):
                raise ValueError(f"{name}: got {file!r}, allowed: the path of a PEM file")
        if not isinstance(self.server_name, str | None) or self.server_name == "":
            raise ValueError(f"server_name: got {self.server_name!r}, allowed: the name in the server's certificate")

    def read(self) -> dict[str, bytes | None]:
        """Return the arguments of ``grpc.ssl_channel_credentials``.

        Raises OSError for a file that cannot be read, and ValueError for a file that is not PEM.
        """
        files = {"root_certificates": self.ca_file, "certificate_chain": self.cert_file, "private_key": self.key_file}
        return {name: None if file is None else _read_pem(file) for name, file in files.items()}


def _read_pem(file: str | os.PathLike[str]) -> bytes:
    data = Path(file).read_bytes()
    if b"-----BEGIN " not in data:
        raise ValueError(f"{os.fspath(file)} is no PEM file: no '-----BEGIN ' in it")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a client, checked.

    Attributes:
        address: "host:port".
        tls: certificates; None = no TLS.
        metadata: headers of every call.
        model: the model's name on the server.
        deadline_s: time limit of a request in seconds: waiting, retries and all rounds.
        connect_timeout_s: time limit of connecting alone, in seconds.
        max_retries: retries of a request that was rejected or never arrived; only before its first event.
        keepalive_s: interval of keepalive pings on an idle connection, in seconds.
        tenant: whose the requests are; "" = nobody's in particular.
        proxies: whether gRPC uses the proxy of $http_proxy and the like for servers on other machines.
        defaults: values of request fields that a request does not have.
    """

    address: str
    tls: TLS | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    model: str = "s1"
    deadline_s: float = DEADLINE_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    max_retries: int = MAX_RETRIES
    keepalive_s: float = KEEPALIVE_S
    tenant: str = ""
    proxies: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*_LEAST_S, "max_retries", "tenant"):
            if allowed := allowed_for(name, getattr(self, name)):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, allowed: {allowed}")
        if not self.model or not is_text(self.model):
            raise ValueError(f"model: got {self.model!r}, allowed: the name of a model on the server")
        if not isinstance(self.tls, TLS | None):
            raise ValueError(f"tls: got {self.tls!r}, allowed: s1_client.TLS(...), or None")  # noqa: TRY004
        if self.tenant and TENANT_HEADER in dict(self.metadata):
            raise ValueError(f"metadata: {TENANT_HEADER!r} is set by tenant already")

    @property
    def request_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a request alone, beside those of every call."""
        return ((TENANT_HEADER, self.tenant),) if self.tenant else ()

    def channel_options(self) -> list[tuple[str, Any]]:
        """Return gRPC's channel arguments. Messages have no size limit: a prompt or a trace of many rounds may be long."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.keepalive_time_ms", int(self.keepalive_s * 1e3)),
            ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1e3)),
            ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1e3)),  # else a dead connection is noticed after a minute
            ("grpc.http2.max_pings_without_data", 0),  # a queued request may be silent for long
            ("grpc.min_reconnect_backoff_ms", int(self.connect_timeout_s * 1e3)),  # gRPC's name for a connect timeout
            ("grpc.initial_reconnect_backoff_ms", int(_FIRST_RETRY_S * 1e3)),
            ("grpc.max_reconnect_backoff_ms", int(_LAST_RETRY_S * 1e3)),
        ]
        if not self.proxies or is_loopback(self.address):  # gRPC itself would reach this machine through the proxy
            options.append(("grpc.enable_http_proxy", 0))
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


def retry_delay_s(attempt: int, retry_after_s: float | None, jitter: float) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 0): the server's suggestion, else twice as long each time.

    ``jitter``, 0 to 1, spreads the retries of clients that failed together.
    """
    if retry_after_s is not None:
        return min(retry_after_s, _MAX_RETRY_AFTER_S) * (1 + jitter / 4)
    return float(min(_FIRST_RETRY_S * 2**attempt, _LAST_RETRY_S) * (1 - jitter / 4))


def make_settings(
    url: str | None, *, tls: TLS | None, token: str | None, secret: str | None, metadata: Mapping[str, str], trust_env: bool, **rest: Any
) -> Settings:
    """Return the settings for a client's arguments and, where these are None, the environment.

    Raises ValueError for an argument that is not allowed; the message names it.
    """
    if not isinstance(trust_env, bool):
        raise ValueError(f"trust_env: got {trust_env!r}, allowed: True or False")  # noqa: TRY004
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if value} if trust_env else {}
    url = _first_of(url, environment.get("S1_URL"), DEFAULT_URL)
    tls = tls if tls is not None else _tls_of(environment)
    scheme, address = read_url(url)
    if scheme == "grpc" and tls is not None:
        raise ValueError(f"url: {url!r} is without TLS, but certificates are given; allowed: host:port or grpcs://host:port")
    names = tuple(metadata) if isinstance(metadata, Mapping) else ()  # headers that are given explicitly beat the environment
    token = _first_of(token, None if "authorization" in names else environment.get("S1_TOKEN"))
    has_secret = any(str(name).startswith(SECRET_HEADER) for name in names)
    headers = headers_of(token, _first_of(secret, None if has_secret else environment.get("S1_SECRET")), metadata)
    if tls is None and scheme == "grpcs":
        tls = TLS()
    if rest.get("tenant") is None:
        rest["tenant"] = "" if TENANT_HEADER in names else environment.get("S1_TENANT", "")
    return Settings(address=address, tls=tls, metadata=headers, proxies=trust_env, **rest)


def _first_of(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _tls_of(environment: Mapping[str, str]) -> TLS | None:
    files = {field: environment.get(f"S1_{field.upper()}") for field in ("ca_file", "cert_file", "key_file")}
    return TLS(**files) if any(files.values()) else None


def allowed_for(name: str, value: Any) -> str:
    """Return "" if ``value`` is allowed for the limit called ``name``, else the allowed values. True is not a number here."""
    if name == "max_retries":
        is_allowed = isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 0
        return "" if is_allowed else "an integer >= 0"
    if name == "tenant":
        return "" if value == "" or is_tenant(value) else "1 to 64 letters, digits, '_', '.', '@' and '-'"
    least = _LEAST_S[name]
    is_allowed = isinstance(value, numbers.Real) and not isinstance(value, bool) and least <= value < _MOST_S  # type: ignore[operator]
    return "" if is_allowed else f"seconds, a number >= {least:g} and < {_MOST_S}"
