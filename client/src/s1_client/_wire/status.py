# SPDX-License-Identifier: Apache-2.0
"""The error that a gRPC status stands for, in a sentence that names the server, with gRPC's own words behind it.

gRPC says UNAVAILABLE of nearly everything that keeps a connection from being made, CANCELLED or INTERNAL of a stream
that a load balancer resets because its replica died, and UNKNOWN of an HTTP answer: what happened is in the details.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from s1_client._access import SECRET_HEADER
from s1_client._errors import AccessDenied, Cancelled, ConnectionFailed, DeadlineExceeded, Overloaded, S1Error, ServerFailed, told_when
from s1_client._settings import Settings

_OF_STATUS: dict[str, type[S1Error]] = {
    "UNAVAILABLE": ConnectionFailed,
    "UNIMPLEMENTED": ConnectionFailed,  # the server is no Triton
    "CANCELLED": ConnectionFailed,  # not by this client: a gateway gave up
    "RESOURCE_EXHAUSTED": Overloaded,
}
_RETRYABLE = ("UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What a status means whose text has ``pattern``.

    Attributes:
        said: the sentence; {address}, {secret} and {no_grpc} are filled in. "" = gRPC's words alone.
    """

    pattern: str
    said: str
    kind: type[S1Error] = ConnectionFailed
    retryable: bool = False


# The first that matches counts. Error codes of RST_STREAM: RFC 9113, section 7; 12 and 13 ask for another protocol.
_CASES = (
    _Case(pattern=r"^DEADLINE_EXCEEDED", said="", kind=DeadlineExceeded),
    _Case(pattern=r"larger than max", said="", kind=ServerFailed),
    _Case(pattern=r"error code 1[23]\b", said="the connection to {address} broke"),
    _Case(pattern=r"RST_STREAM|Stream removed|END_STREAM", said="the connection to {address} broke", retryable=True),
    _Case(pattern=r"is restricted", said="{secret}", kind=AccessDenied),
    _Case(
        pattern=r"^(UNAUTHENTICATED|PERMISSION_DENIED)",
        said="{address} refused access: the token ($S1_TOKEN) is missing or wrong",
        kind=AccessDenied,
    ),
    _Case(
        pattern=r"CERTIFICATE_VERIFY_FAILED",
        said="the certificate of {address} is not trusted; TLS(ca_file=...) or $S1_CA_FILE names the authority that signed it",
    ),
    _Case(
        pattern=r"Hostname Verification",
        said="the certificate of {address} is for another name; use that name as the address, or give it as TLS(server_name=...)",
    ),
    _Case(pattern=r"WRONG_VERSION_NUMBER", said="{address} does not speak TLS; without TLS its address is grpc://{address}"),
    _Case(pattern=r"[Hh]andshake failed|security handshaker", said="TLS with {address} failed"),
    _Case(pattern=r"Connection refused", said="no server at {address} (connection refused)", retryable=True),
    _Case(pattern=r"errors resolving|DNS resolution failed", said="no server at {address} (host not found)", retryable=True),
    _Case(pattern=r"No route to host|Network is unreachable", said="no server at {address} (no route to the host)", retryable=True),
    _Case(
        pattern=r"before receiving SETTINGS", said="no gRPC server at {address}: it accepts connections and sends nothing", retryable=True
    ),
    _Case(pattern=r"Failed parsing HTTP/2", said="{no_grpc}"),
    _Case(pattern=r"failed to connect.*(Socket closed|Connection reset)", said="{no_grpc}", retryable=True),
    _Case(
        pattern=r"Socket closed|Connection reset|GOAWAY|keepalive watchdog|ping timeout",
        said="the connection to {address} broke",
        retryable=True,
    ),
    _Case(pattern=r"http2 header with status: (429|5\d\d)", said="the gateway at {address} reaches no server", retryable=True),
    _Case(
        pattern=r"http2 header with status", said="{address} answered in HTTP, or a proxy ($http_proxy) did: it is not Triton's gRPC port"
    ),
)


def from_status(code: str, details: str | None, settings: Settings, *, was_cancelled: bool = False) -> S1Error:
    """The error that a status (its name and its details) stands for. ``was_cancelled``: by this client, which alone
    makes it a ``Cancelled``.
    """
    text = f"{code}: {details or ''}"
    if code == "CANCELLED" and was_cancelled:
        return Cancelled("the request was cancelled")
    case = next((case for case in _CASES if re.search(case.pattern, text, re.S)), None)
    if case is None:
        error = _OF_STATUS.get(code, ServerFailed)(text)
        error.retryable = code in _RETRYABLE
        return told_when(error)
    said = case.said.format(address=settings.address, secret=_secret_said(settings, text), no_grpc=_no_grpc_said(settings))
    error = case.kind(f"{said} [{text}]" if said else text)
    error.retryable = case.retryable
    return error


def _secret_said(settings: Settings, details: str) -> str:
    """Triton says the same of a header that is missing and of one with another value: it names the header."""
    expected = re.search(rf"{SECRET_HEADER}([\w.-]+)", details)
    names = [name.removeprefix(SECRET_HEADER) for name, _ in settings.metadata if name.startswith(SECRET_HEADER)]
    if not names:
        return f"{settings.address} wants a secret, and none was sent; $S1_SECRET (or secret=...) is to be the server's"
    if expected is None or expected.group(1) in names:
        return f"{settings.address} refused the secret that was sent; $S1_SECRET (or secret=...) is to be the server's"
    return f"{settings.address} wants a secret called {expected.group(1)}: set $S1_SECRET (or secret=...) to {expected.group(1)}=VALUE"


def _no_grpc_said(settings: Settings) -> str:
    if settings.tls is None:
        return (
            f"{settings.address} closed the connection: it is not Triton's gRPC port (8001; HTTP is 8000, metrics 8002),"
            f" or it wants TLS (grpcs://{settings.address})"
        )
    wanted = "" if settings.tls.cert_file else ", or it wants a certificate of this client ($S1_CERT_FILE, $S1_KEY_FILE)"
    return f"{settings.address} closed the connection: it is not Triton's gRPC port{wanted}"
