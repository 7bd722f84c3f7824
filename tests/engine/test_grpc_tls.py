# SPDX-License-Identifier: Apache-2.0
"""gRPC over libcurl and TLS, against grpcio's own server: trust, client certificates and the secret."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trustme

from budgetforce.engine.endpoint import Endpoint, Tls
from budgetforce.engine.grpc_calls import CallFailed, GrpcCalls

NAME = "s1.example"


class Echo(grpc.GenericRpcHandler):
    """Returns the caller's secret and the name in its certificate."""

    def service(self, details):
        return grpc.unary_stream_rpc_method_handler(self.answer)

    def answer(self, request, context):
        secret = dict(context.invocation_metadata()).get("triton-grpc-protocol-s1-secret", "")
        names = context.auth_context().get("x509_subject_alternative_name", [])
        yield b" of ".join([secret.encode(), *names])


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(ca):
    return ca.issue_cert(NAME)


def pem(certificate):
    """A certificate with its chain, and its key."""
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems), certificate.private_key_pem.bytes()


def serve(certificate, *, client_ca=None):
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Echo()])
    chain, key = pem(certificate)
    root = None if client_ca is None else client_ca.cert_pem.bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)], root, require_client_auth=client_ca is not None)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address(certificate):
    """Address of a server that requires no client certificate."""
    server, address = serve(certificate)
    yield address
    server.stop(None).wait()


@pytest.fixture(scope="module")
def strict_address(certificate, ca):
    """Address of a server that requires a client certificate."""
    server, address = serve(certificate, client_ca=ca)
    yield address
    server.stop(None).wait()


def call(endpoint):
    """Make two concurrent calls; return their results."""

    async def scenario():
        calls, messages = GrpcCalls(endpoint), []
        try:
            await asyncio.gather(*(calls.start("test/Echo", b"", messages.append).ended for _ in range(2)))
        finally:
            calls.close()
        return messages

    return asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_server_is_trusted_by_its_authority_and_its_name(address, ca):
    """Which is not the address: libcurl goes there under the name in the certificate."""
    assert call(Endpoint(address=address, tls=Tls(ca=ca.cert_pem.bytes(), name=NAME))) == [b"", b""]


def test_a_server_is_trusted_by_its_own_certificate(address, certificate):
    """Without its authority: a model can trust the certificate of its own server."""
    own = certificate.cert_chain_pems[0].bytes()
    assert call(Endpoint(address=address, tls=Tls(ca=own, name=NAME))) == [b"", b""]


def test_another_authority_is_not_trusted(address):
    with pytest.raises(CallFailed, match="certificate"):
        call(Endpoint(address=address, tls=Tls(ca=trustme.CA().cert_pem.bytes(), name=NAME)))


def test_another_name_is_not_trusted(address, ca):
    with pytest.raises(CallFailed, match="name"):
        call(Endpoint(address=address, tls=Tls(ca=ca.cert_pem.bytes())))


def test_another_certificate_of_the_same_authority_is_not_trusted(address, ca):
    other = ca.issue_cert(NAME).cert_chain_pems[0].bytes()
    with pytest.raises(CallFailed, match="certificate"):
        call(Endpoint(address=address, tls=Tls(ca=other, name=NAME)))


def test_a_server_that_requires_a_client_certificate_gets_it(strict_address, ca):
    chain, key = pem(ca.issue_cert("client.example"))
    tls = Tls(ca=ca.cert_pem.bytes(), name=NAME, cert=chain, key=key)
    assert call(Endpoint(address=strict_address, tls=tls)) == [b" of client.example"] * 2


def test_without_a_client_certificate_it_refuses_the_call(strict_address, ca):
    with pytest.raises(CallFailed):
        call(Endpoint(address=strict_address, tls=Tls(ca=ca.cert_pem.bytes(), name=NAME)))


def test_the_secret_goes_with_every_call(address, ca):
    assert call(Endpoint(address=address, tls=Tls(ca=ca.cert_pem.bytes(), name=NAME), secret="a=b")) == [b"a=b", b"a=b"]


def test_a_proxy_is_for_other_traffic(address, ca, monkeypatch):
    """Whatever proxy the environment names."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert call(Endpoint(address=address, tls=Tls(ca=ca.cert_pem.bytes(), name=NAME))) == [b"", b""]
