# SPDX-License-Identifier: Apache-2.0
"""Checks of addresses and headers. gRPC would take a port modulo 65536 and a missing port as 443, and would report a bad
header on stderr alone. Every function raises ValueError that names the argument; secrets are never quoted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

SECRET_NAME = "s1-secret"  # noqa: S105  # the header's name, as the launcher configures it
SECRET_HEADER = "triton-grpc-protocol-"  # noqa: S105  # Triton's prefix of that name
TENANT_HEADER, TENANT_SECRET_HEADER = "s1-tenant", "s1-tenant-secret"  # as the server's serving/requests/tenant.py names them
_TENANT = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
REQUEST_ID_HEADER, COMMAND_HEADER = "s1-request-id", "s1-command"  # by which a load balancer finds a request's replica
_ALLOWED = "host:port, [IPv6]:port, grpc://host:port or grpcs://host:port"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})  # hosts of addresses on this machine
_LABEL = r"[A-Za-z0-9_-]{1,63}"  # RFC 1035, section 2.3.4; Python's resolver raises UnicodeError for longer labels
_HOST = re.compile(rf"(?=.{{1,254}}\Z)(?!-){_LABEL}(\.{_LABEL})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")  # printable ASCII; blanks at its ends would be lost


def read_url(url: str) -> tuple[str, str]:
    """Return the scheme ("", "grpc" or "grpcs") and the address ("host:port") of a URL."""
    if not isinstance(url, str):
        raise _refused(url, "not a text")
    scheme, separator, address = url.rpartition("://")
    if scheme in ("http", "https"):
        raise _refused(url, "this is an HTTP address; gRPC has another port, by default 8001")
    if separator and scheme not in ("grpc", "grpcs"):
        raise _refused(url, f"no scheme {scheme!r}")
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or port.endswith("]"):
        raise _refused(url, _missing_port(address))
    if not is_host(host):
        raise _refused(url, "no host" if not host else f"{host!r} is no host name or address")
    if not is_port(port):
        raise _refused(url, f"a port is a number from 1 to 65535, not {port[:20]!r}")
    return scheme, address


def _missing_port(address: str) -> str:
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return "no port: by default Triton's gRPC has 8001"
    return "an IPv6 address stands in brackets, before its port"


def is_port(text: str) -> bool:
    """Return whether a text is the number of a TCP port."""
    return _PORT.fullmatch(text) is not None and 1 <= int(text) <= 65535


def is_host(host: str) -> bool:
    """Return whether a text is a host's name or address, an IPv6 address in brackets."""
    if not host.startswith("["):
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host[1:].removesuffix("]"))
    except ValueError:
        return False
    return host.endswith("]")


def is_loopback(address: str) -> bool:
    """Return whether "host:port" is on this machine, by the host's name or address."""
    return address.rpartition(":")[0] in LOOPBACK


def _refused(url: object, why: str) -> ValueError:
    return ValueError(f"url: got {url!r} ({why}), allowed: {_ALLOWED}")


def is_text(value: object) -> bool:
    """Return whether a value is a text that UTF-8 can hold."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_tenant(value: object) -> bool:
    """Return whether a value is the name of a tenant that the server accepts."""
    return isinstance(value, str) and _TENANT.fullmatch(value) is not None


def headers_of(token: str | None, secret: str | None, metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the headers of every call, checked."""
    if not isinstance(metadata, Mapping):
        raise ValueError(f"metadata: got {type(metadata).__name__}, allowed: a mapping of header names to texts")  # noqa: TRY004
    headers = []
    if token is not None:
        headers.append(("authorization", f"Bearer {checked_value('token', token)}"))
    if secret is not None:
        name, value = _read_secret(secret)
        headers.append((f"{SECRET_HEADER}{_checked_name('secret', name)}", checked_value("secret", value)))
    for name, value in metadata.items():
        if name in dict(headers):
            raise ValueError(f"metadata: {name!r} is set by token or secret already")
        if name in (REQUEST_ID_HEADER, COMMAND_HEADER):
            raise ValueError(f"metadata: {name!r} is set by the client, for each request; a request's id is an argument of its call")
        headers.append((_checked_name("metadata", name), checked_value(f"metadata[{name!r}]", value)))
    return tuple(headers)


def _read_secret(secret: str) -> tuple[str, str]:
    """Return name and value of "name=value". A value alone, perhaps base64 with its padding, gets the launcher's name."""
    name, equals, value = checked_value("secret", secret).partition("=")
    return (name, value) if equals and value.strip("=") else (SECRET_NAME, secret)


def _checked_name(argument: str, name: Any) -> str:
    if isinstance(name, str) and _HEADER_NAME.fullmatch(name) and not name.startswith("grpc-") and not name.endswith("-bin"):
        return name
    shown = "the name" if argument == "secret" else repr(name)
    raise ValueError(f"{argument}: {shown} is no header name, allowed: a-z, 0-9, '-', '_' and '.'; not grpc-... nor ...-bin")


def checked_value(argument: str, value: Any) -> str:
    """Return the value of a header. Raises ValueError that names the argument, and never quotes the value."""
    if not isinstance(value, str):
        raise ValueError(f"{argument}: got {type(value).__name__}, allowed: a text")  # noqa: TRY004
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"{argument}: {_problem(value)}, allowed: printable ASCII without white space at its ends")
    return value


def _problem(value: str) -> str:
    if not value.strip():
        return "it is empty"
    return "white space at its ends" if value.strip() != value else "a character that a header cannot hold"
