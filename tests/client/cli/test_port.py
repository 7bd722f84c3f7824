# SPDX-License-Identifier: Apache-2.0
"""Which port an address is. (Triton's own ports: tests/server/test_command.py.)"""

import json
import socket
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
import trustme

from client.cli.running import call
from s1_client import TLS
from s1_client._settings import Settings
from s1_client.cli import port
from s1_client.testing import FakeServer

V2 = json.dumps({"name": "triton", "version": "2.51.0", "extensions": ["classification"]})
RESTRICTED = json.dumps({"error": "This API is restricted, expecting header 's1-secret'"})
METRICS = '# HELP nv_inference_count x\nnv_inference_count{model="s1"} 1\n'


@contextmanager
def http(pages):
    """A server of these pages, path -> (status, text)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = pages.get(self.path, (404, "nothing here"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def mute():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def with_tls(*, mutual):
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    key = [(pair.private_key_pem.bytes(), pair.cert_chain_pems[0].bytes())]
    ours = (authority.cert_pem.bytes(), True) if mutual else ()
    return FakeServer(credentials=grpc.ssl_server_credentials(key, *ours))


LISTENERS = {
    port.HTTP: lambda: http({"/v2": (200, V2)}),
    "HTTP, restricted": lambda: http({"/v2": (403, RESTRICTED)}),
    port.METRICS: lambda: http({"/metrics": (200, METRICS)}),
    port.OTHER_HTTP: lambda: http({"/v2": (200, "<html>")}),
    port.GRPC: FakeServer,
    port.TLS: lambda: with_tls(mutual=False),
    "TLS, mutual": lambda: with_tls(mutual=True),
    port.SILENT: mute,
}


@pytest.mark.parametrize("kind", list(LISTENERS))
def test_what_listens_is_recognised(kind, monkeypatch):
    monkeypatch.setattr(port, "_TIMEOUT_S", 0.3 if kind == port.SILENT else 20)
    with LISTENERS[kind]() as server:
        assert port.listener(getattr(server, "url", server)) == kind.partition(",")[0]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "nosuch.invalid:1"])
def test_where_nothing_listens_that_is_said(address):
    assert port.listener(address) == port.NOTHING


def test_a_likely_port_that_wants_tls_is_advised_with_it(monkeypatch):
    monkeypatch.setattr(port, "listener", {"h:8002": port.METRICS, "h:8001": port.TLS}.get)
    assert port.advice(Settings(address="h:8002")) == "h:8002 is Triton's metrics port; gRPC answers at h:8001: --url grpcs://h:8001"


@pytest.mark.parametrize(("found", "has_tls", "advice"), [
    (port.NOTHING, False, "start a server"),
    (port.OTHER_HTTP, False, "h:8000 is an HTTP server, and not Triton's; Triton's gRPC port is 8001"),
    (port.HTTP, False, "h:8000 is Triton's HTTP port; gRPC answers at h:8001: --url h:8001"),
    (port.METRICS, False, "h:8000 is Triton's metrics port; Triton's gRPC port is 8001"),
    (port.TLS, False, "h:8000 requires TLS: --url grpcs://h:8000"),
    (port.TLS, True, ""),
    (port.GRPC, True, "h:8000 is a gRPC port without TLS: --url grpc://h:8000"),
    (port.GRPC, False, ""),
    (port.SILENT, False, ""),
])  # fmt: skip
def test_advice_is_the_likely_port(found, has_tls, advice, monkeypatch):
    """gRPC's port lies between the two others."""
    monkeypatch.setattr(port, "listener", {"h:8000": found, "h:8001": port.GRPC, "h:7999": port.NOTHING}.get)
    said = port.advice(Settings(address="h:8000", tls=TLS() if has_tls else None))
    assert said.startswith(advice) and bool(said) == bool(advice)


def test_commands_say_which_port_it_is():
    with ExitStack() as stack:
        web, wanted = stack.enter_context(http({"/v2": (200, V2)})), stack.enter_context(with_tls(mutual=False)).url
        for address, advice in (
            (web, f"{web} is Triton's HTTP port; Triton's gRPC port is 8001"),
            (wanted, f"{wanted} requires TLS: --url grpcs://{wanted}"),
        ):
            failed = call("ask", "hi", "--url", address, "--max-retries", "0", code=3)
            assert failed.stderr.splitlines()[0].startswith(f"s1: {address} closed the connection: it is not Triton's gRPC port")
            assert failed.stderr.splitlines()[1].startswith(f"    -> {advice}")
            (found,) = call("doctor", "--json", "--url", address, code=1).stdout.splitlines()
            assert json.loads(found)["fix"].startswith(advice)


@pytest.mark.parametrize("host", ["a" * 64 + ".com", "a..b"])
@pytest.mark.parametrize("command", [["ask", "hi"], ["doctor"], ["loadtest", "smoke"]])
def test_a_host_that_no_name_server_can_be_asked_for_is_refused(command, host, tmp_path, monkeypatch):
    """Python's resolver raises UnicodeError for it, which is no OSError."""
    monkeypatch.chdir(tmp_path)
    assert "is no host name or address" in call(*command, "--url", f"{host}:8001", code=2).stderr
