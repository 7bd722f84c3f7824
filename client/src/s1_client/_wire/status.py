# SPDX-License-Identifier: Apache-2.0
"""gRPC statuses to errors: a sentence that names the server, with gRPC's own words behind it.

gRPC reports UNAVAILABLE for nearly everything that prevents a connection, CANCELLED or INTERNAL for a stream that a load
balancer resets because its replica died, and UNKNOWN for an HTTP response: the cause is in the details.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from s1_client._access import SECRET_HEADER
from s1_client._errors import AccessDenied, Cancelled, ConnectionFailed, DeadlineExceeded, Overloaded, S1Error, ServerFailed
from s1_client._settings import Settings
from s1_client._wire.errors import with_retry_after

_OF_STATUS: dict[str, type[S1Error]] = {
    "UNAVAILABLE": ConnectionFailed,
    "UNIMPLEMENTED": ConnectionFailed,  # the server is no Triton
    "CANCELLED": ConnectionFailed,  # not by this client: a gateway gave up
    "RESOURCE_EXHAUSTED": Overloaded,
}
_RETRYABLE = ("UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """The meaning of a status whose name and details match ``pattern``.

    Attributes:
        text: the error's message; {address}, {secret} and {no_grpc} are filled in. "" = gRPC's words alone.
    """

    pattern: str
    text: str
    kind: type[S1Error] = ConnectionFailed
    retryable: bool = False


# The first match counts. Error codes of RST_STREAM: RFC 9113, section 7; 12 and 13 ask for another protocol.
_CASES = (
    _Case(pattern=r"^DEADLINE_EXCEEDED", text="", kind=DeadlineExceeded),
    _Case(pattern=r"larger than max", text="", kind=ServerFailed),
    _Case(pattern=r"error code 1[23]\b", text="the connection to {address} broke"),
    _Case(pattern=r"RST_STREAM|Stream removed|END_STREAM", text="the connection to {address} broke", retryable=True),
    _Case(pattern=r"is restricted", text="{secret}", kind=AccessDenied),
    _Case(
        pattern=r"^(UNAUTHENTICATED|PERMISSION_DENIED)",
        text="{address} refused access: the token ($S1_TOKEN) is missing or wrong",
        kind=AccessDenied,
    ),
    _Case(
        pattern=r"CERTIFICATE_VERIFY_FAILED",
        text="the certificate of {address} is not trusted; TLS(ca_file=...) or $S1_CA_FILE names the authority that signed it",
    ),
    _Case(
        pattern=r"Hostname Verification",
        text="the certificate of {address} is for another name; use that name as the address, or give it as TLS(server_name=...)",
    ),
    _Case(pattern=r"WRONG_VERSION_NUMBER", text="{address} does not speak TLS; without TLS its address is grpc://{address}"),
    _Case(pattern=r"[Hh]andshake failed|security handshaker", text="TLS with {address} failed"),
    _Case(pattern=r"Connection refused", text="no server at {address} (connection refused)", retryable=True),
    _Case(pattern=r"errors resolving|DNS resolution failed", text="no server at {address} (host not found)", retryable=True),
    _Case(pattern=r"No route to host|Network is unreachable", text="no server at {address} (no route to the host)", retryable=True),
    _Case(
        pattern=r"before receiving SETTINGS",
        text="no gRPC server at {address}: it accepts connections and sends nothing",
        retryable=True,
    ),
    _Case(pattern=r"Failed parsing HTTP/2", text="{no_grpc}"),
    _Case(pattern=r"failed to connect.*(Socket closed|Connection reset)", text="{no_grpc}", retryable=True),
    _Case(
        pattern=r"Socket closed|Connection reset|GOAWAY|keepalive watchdog|ping timeout",
        text="the connection to {address} broke",
        retryable=True,
    ),
    _Case(pattern=r"http2 header with status: (429|5\d\d)", text="the gateway at {address} reaches no server", retryable=True),
    _Case(
        pattern=r"http2 header with status",
        text="{address} answered in HTTP, or a proxy ($http_proxy) did: it is not Triton's gRPC port",
    ),
)


def from_status(code: str, details: str | None, settings: Settings, *, was_cancelled: bool = False) -> S1Error:
    """Return the error that a status, its name and its details, stands for.

    ``was_cancelled``: this client cancelled the call; only then is it ``Cancelled``.
    """
    status = f"{code}: {details or ''}"
    if code == "CANCELLED" and was_cancelled:
        return Cancelled("the request was cancelled")
    case = next((case for case in _CASES if re.search(case.pattern, status, re.S)), None)
    if case is None:
        error = _OF_STATUS.get(code, ServerFailed)(status)
        error.retryable = code in _RETRYABLE
        return with_retry_after(error)
    text = case.text.format(address=settings.address, secret=_secret_sentence(settings, status), no_grpc=_no_grpc_sentence(settings))
    error = case.kind(f"{text} [{status}]" if text else status)
    error.retryable = case.retryable
    return error


def _secret_sentence(settings: Settings, details: str) -> str:
    """Return the sentence about the secret. Triton reports a missing header and a wrong value alike: it names the header."""
    expected = re.search(rf"{SECRET_HEADER}([\w.-]+)", details)
    names = [name.removeprefix(SECRET_HEADER) for name, _ in settings.metadata if name.startswith(SECRET_HEADER)]
    if not names:
        return f"{settings.address} wants a secret, and none was sent; $S1_SECRET (or secret=...) is to be the server's"
    if expected is None or expected.group(1) in names:
        return f"{settings.address} refused the secret that was sent; $S1_SECRET (or secret=...) is to be the server's"
    return f"{settings.address} wants a secret called {expected.group(1)}: set $S1_SECRET (or secret=...) to {expected.group(1)}=VALUE"


def _no_grpc_sentence(settings: Settings) -> str:
    if settings.tls is None:
        return (
            f"{settings.address} closed the connection: it is not Triton's gRPC port (8001; HTTP is 8000, metrics 8002),"
            f" or it wants TLS (grpcs://{settings.address})"
        )
    certificate = "" if settings.tls.cert_file else ", or it wants a certificate of this client ($S1_CERT_FILE, $S1_KEY_FILE)"
    return f"{settings.address} closed the connection: it is not Triton's gRPC port{certificate}"
