# SPDX-License-Identifier: Apache-2.0
"""The tenant of a client's requests goes to the server as a header of each request."""

import pytest

from s1_client import Client, InvalidRequest, Request
from s1_client.testing import FakeServer


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def sent(server):
    """The tenants that the server got, in order."""
    server.requests.clear()
    return lambda: [request.headers.get("s1-tenant") for request in server.requests]


def test_a_client_names_its_tenant_and_a_call_may_name_another(server, sent):
    with Client(server.url, tenant="ann") as client:
        client.think("hi")
        client.think("hi", tenant="bob")
        client.with_options(tenant="cid").think("hi")
        list(client.map(["hi", Request(prompt="hi", options={"tenant": "eve"})], concurrency=1))
    assert sent() == ["ann", "bob", "cid", "ann", "eve"]


def test_without_a_tenant_no_header_is_sent(server, sent):
    with Client(server.url) as client:
        client.think("hi")
    with Client(server.url, tenant="ann") as client:
        client.think("hi", tenant="")
    assert sent() == [None, None]


def test_the_tenant_may_come_from_the_environment(server, sent, monkeypatch):
    monkeypatch.setenv("S1_TENANT", "ann")
    for settings in ({}, {"tenant": "bob"}, {"trust_env": False}, {"metadata": {"s1-tenant": "cid"}}):
        with Client(server.url, **settings) as client:
            client.think("hi")
    assert sent() == ["ann", "bob", None, "cid"]


@pytest.mark.parametrize("name", ["a b", "x" * 65, "ä", 7])
def test_a_name_that_the_server_would_refuse_is_refused_here(server, sent, name):
    with pytest.raises(ValueError, match="tenant: got .*, allowed: 1 to 64 letters, digits"):
        Client(server.url, tenant=name)
    with Client(server.url) as client, pytest.raises(InvalidRequest, match="tenant: got .*, allowed: 1 to 64"):
        client.think("hi", tenant=name)
    assert sent() == []


def test_a_tenant_has_one_name(server):
    with pytest.raises(ValueError, match="metadata: 's1-tenant' is set by tenant already"):
        Client(server.url, tenant="ann", metadata={"s1-tenant": "bob"})
