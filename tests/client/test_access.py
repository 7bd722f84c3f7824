# SPDX-License-Identifier: Apache-2.0
"""Addresses and headers are checked before anything is sent, and a secret is never quoted."""

import pytest

from s1_client._access import headers_of, read_url


@pytest.mark.parametrize(
    "host", ["a", "a.b-c_d.example.", "127.0.0.1", "[::1]", "[2001:db8::7]", "[fe80::1%eth0]", "xn--mnchen-3ya.de", "a" * 63]
)
@pytest.mark.parametrize("scheme", ["", "grpc", "grpcs"])
def test_a_host_a_port_and_perhaps_a_scheme_are_an_address(host, scheme):
    assert read_url(f"{scheme}://{host}:8001" if scheme else f"{host}:8001") == (scheme, f"{host}:8001")


@pytest.mark.parametrize(("url", "why"), [
    ("127.0.0.1", "no port: by default Triton's gRPC has 8001"),
    ("localhost", "no port"),
    ("", "no port"),
    ("grpc://", "no port"),
    ("[::1]", "no port"),
    ("a:", "a port is a number from 1 to 65535, not ''"),
    ("a:0", "a port is a number"),
    ("a:65536", "a port is a number"),
    ("a:99999", "a port is a number from 1 to 65535, not '99999'"),
    ("a:-1", "a port is a number"),
    ("a:8e3", "a port is a number"),
    ("a:\u0663", "a port is a number"),  # a digit to Python
    ("a:" + "1" * 5000, "a port is a number"),
    ("a:8001 ", "a port is a number"),
    ("a:8001\n", "a port is a number"),
    ("a:1/v2", "a port is a number"),
    ("grpc://a:1/", "a port is a number"),
    ("::1:8001", "an IPv6 address stands in brackets"),
    ("[::1:8001", "is no host name or address"),
    ("[1.2.3.4]:1", "is no host name or address"),
    (" a:1", "is no host name or address"),
    ("a b:1", "is no host name or address"),
    ("m\u00fcnchen.de:1", "is no host name or address"),
    ("me@a:1", "is no host name or address"),
    ("a..b:1", "is no host name or address"),
    ("-a:1", "is no host name or address"),
    ("a" * 64 + ".com:1", "is no host name or address"),
    ("grpcs://b." + "a" * 64 + ":1", "is no host name or address"),
    ("a." * 127 + "a:1", "is no host name or address"),
    (":8001", "no host"),
    ("http://a:8000", "this is an HTTP address; gRPC has another port, by default 8001"),
    ("https://a:8000", "this is an HTTP address"),
    ("GRPCS://a:1", "no scheme 'GRPCS'"),
    ("dns:///a:1", "no scheme 'dns'"),
    ("://a:1", "no scheme ''"),
    ("unix:/tmp/s1", "a port is a number"),
    (8001, "not a text"),
    (b"a:1", "not a text"),
])  # fmt: skip
def test_what_is_no_address_is_refused_with_the_reason(url, why):
    """gRPC takes port 99999 as 34463 and a missing one as 443."""
    with pytest.raises(ValueError, match="url: got .*allowed: host:port, ") as refused:
        read_url(url)
    assert why in str(refused.value)


@pytest.mark.parametrize(("secret", "header"), [
    ("s1-secret=x=y", ("s1-secret", "x=y")),
    ("mine=hush", ("mine", "hush")),
    ("hush", ("s1-secret", "hush")),
    ("aGVsbG8gd29ybGQ=", ("s1-secret", "aGVsbG8gd29ybGQ=")),
    ("aGVsbG8gd29yCg==", ("s1-secret", "aGVsbG8gd29yCg==")),
])  # fmt: skip
def test_a_secret_is_a_value_or_has_a_name(secret, header):
    assert headers_of(None, secret, {}) == ((f"triton-grpc-protocol-{header[0]}", header[1]),)


@pytest.mark.parametrize(
    "value", ["hush\n", "hu\nsh", " hush", "hush\t", "", " ", "h\u00fcsh", "hu\0sh", "hu\x7fsh", "aGVsbG8= ", 5, b"hush", True]
)
@pytest.mark.parametrize("argument", ["token", "secret", "metadata"])
def test_a_value_that_a_header_cannot_hold_is_refused_by_name_and_not_quoted(argument, value):
    given = {"token": None, "secret": None, "metadata": {}, argument: {"x-team": value} if argument == "metadata" else value}
    with pytest.raises(ValueError, match=f"^{argument}") as refused:
        headers_of(**given)
    assert "sh" not in str(refused.value).replace("white space", "").partition(", allowed")[0]


@pytest.mark.parametrize("name", ["X-Team", "a b", "a:b", "", "grpc-timeout", "trace-bin", "a\n", 5])
def test_a_name_that_no_header_has_is_refused(name):
    with pytest.raises(ValueError, match="metadata: .* is no header name"):
        headers_of(None, None, {name: "x"})
    if isinstance(name, str) and name:
        with pytest.raises(ValueError, match="^secret: "):
            headers_of(None, f"grpc-x{name.upper()}=x", {})


def test_a_header_has_one_value():
    with pytest.raises(ValueError, match="metadata: 'authorization' is set by token or secret already"):
        headers_of("t", None, {"authorization": "x"})


@pytest.mark.parametrize("metadata", [[("a", "b")], "ab", 5])
def test_headers_are_a_mapping(metadata):
    with pytest.raises(ValueError, match="metadata: got .*, allowed: a mapping"):
        headers_of(None, None, metadata)
