# SPDX-License-Identifier: Apache-2.0
"""One fake server and the gateways in front of it, for all tests of this folder that need a process."""

import grpc
import pytest

from client.gateway.calls import gateway as started
from s1_client.gateway.access import add_key
from s1_client.testing import FakeServer


class Traces(grpc.ServerInterceptor):
    """Notes the trace of each call of the server."""

    def __init__(self):
        self.seen = []

    def intercept_service(self, continuation, details):
        self.seen.append(dict(details.invocation_metadata).get("traceparent"))
        return continuation(details)


@pytest.fixture(scope="session")
def traces():
    return Traces()


@pytest.fixture(scope="session")
def server(traces):
    with FakeServer(interceptors=[traces]) as server:
        yield server


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A file of keys, and the keys by their owners' names."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    return path, {name: add_key(path, name) for name in ("ann", "bob")}


@pytest.fixture(scope="session")
def gateway(server):
    """A gateway as a user gets it, whose streams are pinged often."""
    with started(server.url, "--ping-s", "0.2", "--first-event-s", "0.5") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def guarded(server, keys):
    """A gateway with keys, few open requests, and a page of another origin that may call it."""
    path, by_name = keys
    options = ["--max-open", "2", "--cors-origin", "https://chat.example", "--metrics", "open", "--keep-alive-s", "1"]
    with started(server.url, "--keys-file", str(path), *options, key=by_name["ann"]) as gateway:
        yield gateway
    log = "".join(gateway.log)
    assert not any(key in log for key in by_name.values())
