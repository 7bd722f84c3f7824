# SPDX-License-Identifier: Apache-2.0
"""TLS, mutual TLS and headers. (With the real server: tests/server/test_security.py.)"""

import grpc
import pytest
import trustme

from client.behaviour import CLIENTS
from s1_client import TLS, AsyncClient, Client, ConnectionFailed, InvalidRequest
from s1_client.testing import FakeServer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """PEM files: the authority's, the client's and its key; and the server's own pair as bytes."""
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("pem")
    client, server = authority.issue_cert("client"), authority.issue_cert("s1.example")
    pems = {"ca": authority.cert_pem, "cert": client.cert_chain_pems[0], "key": client.private_key_pem}
    for name, pem in pems.items():
        pem.write_to_path(folder / name)
    pair = server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes()
    return {**{name: folder / name for name in pems}, "pair": pair, "authority": authority.cert_pem.bytes()}


@pytest.fixture
def server(files):
    """It requires client certificates, and its certificate has another name than its address."""
    credentials = grpc.ssl_server_credentials([files["pair"]], files["authority"], require_client_auth=True)
    with FakeServer(credentials=credentials) as server:
        server.says(answer=" four")
        yield server


@pytest.fixture(params=list(CLIENTS))
def think(request, server):
    def ask(**settings):
        with CLIENTS[request.param](server.url, max_retries=0, **settings) as client:
            return client.think("hi").answer

    return ask


def test_each_side_proves_who_it_is(think, files):
    assert think(tls=TLS(ca_file=files["ca"], cert_file=files["cert"], key_file=files["key"], server_name="s1.example")) == " four"


def test_certificates_can_be_told_by_the_environment(think, files, monkeypatch, server):
    for name, file in {"S1_CA_FILE": "ca", "S1_CERT_FILE": "cert", "S1_KEY_FILE": "key"}.items():
        monkeypatch.setenv(name, str(files[file]))
    with pytest.raises(ConnectionFailed, match="Hostname Verification") as failed:  # the name is not 127.0.0.1
        think()
    assert not failed.value.retryable


def test_who_does_not_prove_it_is_not_let_in(think, files):
    with pytest.raises(ConnectionFailed):
        think(tls=TLS(ca_file=files["ca"], server_name="s1.example"))
    with pytest.raises(ConnectionFailed):
        think(tls=TLS(server_name="s1.example"))
    with pytest.raises(ConnectionFailed):
        think()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_file_that_is_no_certificate_is_an_error_of_the_client_not_of_its_first_request(kind, tmp_path):
    (tmp_path / "text").write_text("no PEM")
    for name, error in (("missing", FileNotFoundError), ("text", ValueError)):
        with pytest.raises(error, match=name):
            kind("grpcs://127.0.0.1:1", tls=TLS(ca_file=tmp_path / name))


@pytest.mark.parametrize("client", CLIENTS.values())
def test_headers_come_with_every_call(client):
    """Of a stream, of a command to another program's request and of a unary call."""
    seen = []

    class Watched(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            seen.append(dict(details.invocation_metadata))
            return continuation(details)

    with (
        FakeServer(interceptors=[Watched()]) as server,
        client(server.url, token="t", secret="s1-secret=hush", metadata={"x-team": "blue"}) as asking,
    ):
        list(asking.stream("hi"))
        with pytest.raises(InvalidRequest):
            asking.answer_now("another's")
        asking.is_ready()
    assert len(seen) >= 3
    for headers in seen:
        assert (headers["authorization"], headers["triton-grpc-protocol-s1-secret"], headers["x-team"]) == ("Bearer t", "hush", "blue")
