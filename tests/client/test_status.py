# SPDX-License-Identifier: Apache-2.0
"""A gRPC status becomes an error with a sentence. (On a bad network: network.py; with TLS: test_tls.py.)"""

import pytest

from s1_client import TLS, AccessDenied, Cancelled, ConnectionFailed, DeadlineExceeded, Overloaded, ServerFailed
from s1_client._settings import Settings
from s1_client._wire.status import from_status

PLAIN = Settings(address="host:8001")
FAILED = "failed to connect to all addresses; last error"
SECURE = Settings(address="host:8001", tls=TLS())


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("UNAVAILABLE", ConnectionFailed, True),
        ("RESOURCE_EXHAUSTED", Overloaded, True),
        ("DEADLINE_EXCEEDED", DeadlineExceeded, False),
        ("CANCELLED", ConnectionFailed, True),
        ("UNIMPLEMENTED", ConnectionFailed, False),
        ("INTERNAL", ServerFailed, False),
        ("UNKNOWN", ServerFailed, False),
    ],
)
def test_a_status_is_an_error(code, kind, retryable):
    error = from_status(code, "so it is", PLAIN)
    assert (type(error), error.retryable, str(error)) == (kind, retryable, f"{code}: so it is")


def test_a_deadline_that_is_over_is_one_however_the_stream_ended():
    assert type(from_status("DEADLINE_EXCEEDED", "Stream removed (Deadline Exceeded)", PLAIN)) is DeadlineExceeded


def test_a_call_that_this_client_cancelled_is_cancelled_and_no_other():
    assert type(from_status("CANCELLED", "x", PLAIN, was_cancelled=True)) is Cancelled
    assert type(from_status("UNAVAILABLE", "Connection refused", PLAIN, was_cancelled=True)) is ConnectionFailed


@pytest.mark.parametrize(("code", "details", "retryable"), [
    ("CANCELLED", "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))", True),
    ("INTERNAL", "Received RST_STREAM with error code 2", True),  # as older versions of gRPC have it
    ("RESOURCE_EXHAUSTED", "Received RST_STREAM with error code 11", True),
    ("PERMISSION_DENIED", "Received RST_STREAM with error code 12", False),  # wants better TLS
    ("INTERNAL", "Received RST_STREAM with error code 13", False),  # wants HTTP/1.1
    ("UNKNOWN", "Stream removed (Data frame with END_STREAM flag received)", True),
    ("UNAVAILABLE", "Socket closed", True),
    ("UNAVAILABLE", "recvmsg:Connection reset by peer", True),
    ("UNAVAILABLE", "keepalive watchdog timeout", True),
    ("UNAVAILABLE", "Stream removed (Socket closed (GOAWAY received; Error code: 0))", True),
])  # fmt: skip
def test_a_stream_that_is_reset_is_a_connection_that_broke(code, details, retryable):
    error = from_status(code, details, PLAIN)
    assert (type(error), error.retryable) == (ConnectionFailed, retryable)
    assert str(error) == f"the connection to host:8001 broke [{code}: {details}]"


@pytest.mark.parametrize(("code", "details", "said"), [
    ("UNAVAILABLE", f"{FAILED}: UNKNOWN: ipv4:1.2.3.4:1: Failed to connect to remote host: Connection refused",
     "no server at host:8001 (connection refused)"),
    ("UNAVAILABLE", "errors resolving host:8001: [Domain name not found]", "no server at host:8001 (host not found)"),
    ("UNAVAILABLE", "DNS resolution failed for host:8001", "no server at host:8001 (host not found)"),
    ("UNAVAILABLE", f"{FAILED}: No route to host", "no server at host:8001 (no route to the host)"),
    ("UNAVAILABLE", "connection attempt timed out before receiving SETTINGS frame",
     "no gRPC server at host:8001: it accepts connections and sends nothing"),
    ("UNAVAILABLE", "Received http2 header with status: 503", "the gateway at host:8001 reaches no server"),
    ("UNKNOWN", "Received http2 header with status: 500", "the gateway at host:8001 reaches no server"),
])  # fmt: skip
def test_a_server_that_is_not_there_may_come(code, details, said):
    error = from_status(code, details, PLAIN)
    assert (type(error), error.retryable, str(error)) == (ConnectionFailed, True, f"{said} [{code}: {details}]")


@pytest.mark.parametrize(("settings", "details", "said"), [
    (SECURE, "Tls handshake failed (X): SSL_ERROR_SSL: x:CERTIFICATE_VERIFY_FAILED: y", "certificate of host:8001 is not trusted"),
    (SECURE, "Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed.", "is for another name"),
    (SECURE, "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: x:WRONG_VERSION_NUMBER", "does not speak TLS"),
    (SECURE, "Tls handshake failed (TSI_PROTOCOL_FAILURE)", "TLS with host:8001 failed"),
    (PLAIN, f"{FAILED}: Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame)", "not Triton's gRPC port"),
    (PLAIN, "Received http2 header with status: 404", "it is not Triton's gRPC port"),
])  # fmt: skip
def test_what_does_not_change_is_not_worth_another_try(settings, details, said):
    error = from_status("UNAVAILABLE", details, settings)
    assert (type(error), error.retryable) == (ConnectionFailed, False)
    assert said in str(error).partition(" [")[0]


@pytest.mark.parametrize(("settings", "hint"), [
    (PLAIN, "not Triton's gRPC port (8001; HTTP is 8000, metrics 8002), or it wants TLS (grpcs://host:8001)"),
    (SECURE, "or it wants a certificate of this client ($S1_CERT_FILE, $S1_KEY_FILE)"),
])  # fmt: skip
def test_a_port_that_hangs_up_may_be_another_one(settings, hint):
    error = from_status("UNAVAILABLE", f"{FAILED}: UNAVAILABLE: Socket closed", settings)
    assert hint in str(error)
    assert error.retryable  # a balancer without a server does the same


@pytest.mark.parametrize(("headers", "problem"), [
    ((), "host:8001 wants a secret, and none was sent; $S1_SECRET"),
    ((("triton-grpc-protocol-s1-secret", "hush"),), "host:8001 refused the secret that was sent; $S1_SECRET"),
    ((("triton-grpc-protocol-hu", "sh"),), "host:8001 wants a secret called s1-secret: set $S1_SECRET (or secret=...) to s1-secret=VALUE"),
])  # fmt: skip
def test_a_secret_that_is_missing_or_wrong_is_an_error_of_its_own(headers, problem):
    details = "This protocol is restricted, expecting header 'triton-grpc-protocol-s1-secret'"
    error = from_status("UNAVAILABLE", details, Settings(address="host:8001", metadata=headers))
    assert (type(error), error.retryable) == (AccessDenied, False)
    assert str(error).startswith(problem) and "hush" not in str(error)


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNAUTHENTICATED"])
def test_a_gateway_that_refuses_a_token_is_one_too(code):
    error = from_status(code, "who are you", PLAIN)
    assert (type(error), error.retryable) == (AccessDenied, False)
    assert "$S1_TOKEN" in str(error)


def test_a_message_that_is_too_large_stays_so():
    error = from_status("RESOURCE_EXHAUSTED", "Received message larger than max (6000243 vs. 4194304)", PLAIN)
    assert (type(error), error.retryable) == (ServerFailed, False)


def test_a_gateway_may_say_when_to_come_back():
    assert from_status("RESOURCE_EXHAUSTED", "slow down; retry after 2.5 s", PLAIN).retry_after_s == 2.5
