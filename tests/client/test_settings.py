# SPDX-License-Identifier: Apache-2.0
"""Addresses, certificates, headers and limits: out of arguments, else out of the environment."""

import numpy as np
import pytest

from s1_client import TLS, Client
from s1_client._settings import Settings, make_settings

NOTHING = {"tls": None, "token": None, "secret": None, "metadata": {}, "trust_env": True}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("S1_URL", "S1_TOKEN", "S1_SECRET", "S1_CA_FILE", "S1_CERT_FILE", "S1_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


def settings(url=None, **given):
    return make_settings(url, **{**NOTHING, **given})


@pytest.mark.parametrize(
    ("url", "address", "has_tls"),
    [(None, "127.0.0.1:8001", False), ("a:1", "a:1", False), ("grpc://a:1", "a:1", False), ("grpcs://a:1", "a:1", True)],
)
def test_an_address_with_or_without_tls(url, address, has_tls):
    made = settings(url)
    assert (made.address, made.tls is not None) == (address, has_tls)


@pytest.mark.parametrize("url", ["", "a", "a:99999"])
def test_what_is_no_address_is_refused(url, monkeypatch):
    """An empty argument is refused as well; an empty variable counts as unset."""
    with pytest.raises(ValueError, match="url: got .*allowed: host:port"):
        settings(url)
    monkeypatch.setenv("S1_URL", url or "a:")
    with pytest.raises(ValueError, match="url: got .*allowed: host:port"):
        settings()
    monkeypatch.setenv("S1_URL", "")
    assert settings().address == "127.0.0.1:8001"


def test_what_is_not_given_comes_from_the_environment(monkeypatch):
    for name, value in {"S1_URL": "a:1", "S1_TOKEN": "t", "S1_SECRET": "s1-secret=x=y", "S1_CA_FILE": "ca.pem"}.items():
        monkeypatch.setenv(name, value)
    made = settings()
    assert (made.address, made.tls) == ("a:1", TLS(ca_file="ca.pem"))
    assert made.metadata == (("authorization", "Bearer t"), ("triton-grpc-protocol-s1-secret", "x=y"))
    given = settings("b:2", token="u", metadata={"x-team": "blue"})
    assert (given.address, given.metadata[0], given.metadata[-1]) == ("b:2", ("authorization", "Bearer u"), ("x-team", "blue"))
    assert settings(trust_env=False) == Settings(address="127.0.0.1:8001", proxies=False)


def test_gRPC_looks_for_a_proxy_only_where_the_environment_is_trusted():
    assert ("grpc.enable_http_proxy", 0) in settings(trust_env=False).channel_options()
    assert "grpc.enable_http_proxy" not in dict(settings("gpu1:8001").channel_options())


@pytest.mark.parametrize("url", [None, "localhost:8001", "grpcs://127.0.0.1:8001", "[::1]:8001"])
def test_a_server_on_this_machine_is_never_reached_through_a_proxy(url):
    assert ("grpc.enable_http_proxy", 0) in settings(url).channel_options()


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="certificates are given"):
        settings("grpc://a:1", tls=TLS(ca_file="ca.pem"))
    with pytest.raises(ValueError, match="come together"):
        TLS(cert_file="cert.pem")


@pytest.mark.parametrize(
    ("argument", "values"),
    {
        "deadline_s": (0, 1e9, -1, True, "5", float("nan"), float("inf"), [5]),
        "connect_timeout_s": (-1, 0.05, True, "5"),
        "keepalive_s": (0, 0.0001, True, "5"),
        "max_retries": (-1, True, 1.5, "2", float("nan")),
        "model": ("", 5, None, b"s1", "\ud800"),
        "tls": (True, "ca.pem", {"ca_file": "ca.pem"}),
        "trust_env": (0, "no", None),
        "url": (8001,),
        "token": (b"t", ""),
        "secret": (5,),
        "metadata": ("a", 5),
    }.items(),
)
def test_an_argument_that_cannot_be_is_refused_by_name(argument, values):
    """True is an integer to Python, and 1 second to gRPC."""
    for value in values:
        with pytest.raises(ValueError, match=f"{argument}: .*allowed: "):
            Client(**{argument: value})


@pytest.mark.parametrize("limits", [{"deadline_s": np.float32(5)}, {"deadline_s": 1}, {"max_retries": np.int64(0)}, {"keepalive_s": 0.5}])
def test_numbers_of_any_kind_are_limits(limits):
    Client("127.0.0.1:1", **limits).close()


def test_certificates_that_cannot_be_read_say_so(tmp_path):
    """gRPC would report a file that is not PEM in its own log alone."""
    with pytest.raises(FileNotFoundError):
        Client("grpcs://127.0.0.1:1", tls=TLS(ca_file="nowhere.pem"))
    (tmp_path / "ca.pem").write_bytes(b"\x30\x82")
    with pytest.raises(ValueError, match="ca.pem is no PEM file"):
        Client("grpcs://127.0.0.1:1", tls=TLS(ca_file=tmp_path / "ca.pem"))


@pytest.mark.parametrize("argument", ["ca_file", "server_name"])
@pytest.mark.parametrize("value", ["", 5, b"x"])
def test_a_certificate_is_a_path_and_a_name_is_a_text(argument, value):
    with pytest.raises(ValueError, match=f"{argument}: got "):
        TLS(**{argument: value})


def test_headers_that_are_given_replace_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("S1_TOKEN", "environment")
    monkeypatch.setenv("S1_SECRET", "environment")
    given = {"authorization": "Bearer mine", "triton-grpc-protocol-s1-secret": "mine"}
    assert dict(settings(metadata=given).metadata) == given
    with pytest.raises(ValueError, match="'authorization' is set by token or secret already"):
        settings(metadata=given, token="another")
