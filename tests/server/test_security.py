# SPDX-License-Identifier: Apache-2.0
"""A server with client certificates and a secret: open to who has both, shut to all others, and whole for its own parts."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc

from budgetforce.health import why_not_ready
from budgetforce.launcher.certificates import Pair, tls_files
from budgetforce.launcher.security import Security
from client.behaviour import CLIENTS
from s1_client import TLS, AccessDenied, ConnectionFailed
from server.conftest import scripted_server
from server.plain_grpc import admin_headers, events, question
from server.waiting import wait_until

SECRET = "k3y=with,signs:in/it"
HEADER = ("triton-grpc-protocol-s1-secret", SECRET)
REFUSED = "This protocol is restricted, expecting header 'triton-grpc-protocol-%s'"
SERVER = "s1.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("security")


def write_pair(folder, name, certificate):
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return Pair(cert=folder / f"{name}.pem", key=folder / f"{name}.pem")


@pytest.fixture(scope="module")
def clients():
    """The authority of the clients, which is not the server's."""
    return trustme.CA()


@pytest.fixture(scope="module")
def servers():
    """The authority of the server."""
    return trustme.CA()


@pytest.fixture(scope="module")
def security(folder, clients, servers):
    clients.cert_pem.write_to_path(folder / "clients.pem")
    (folder / "secret").write_text(f"{SECRET}\n")
    own = write_pair(folder, "own", clients.issue_cert("s1.loopback"))
    server = write_pair(folder, "server", servers.issue_cert(SERVER))
    tls = tls_files(server, client_ca=folder / "clients.pem", own=own)
    return Security(tls=tls, secret_file=folder / "secret", secret=SECRET)


@pytest.fixture(scope="module")
def make_server(root, scripts_folder, security):
    """A server with ``s1_scripted`` behind all of it; not started."""

    def make(folder):
        server = scripted_server(root, scripts_folder, folder / "repository", folder / "triton.log")
        server.security = security
        return server

    return make


@pytest.fixture(scope="module")
def guarded(make_server, folder):
    with make_server(folder) as server:
        yield server
    assert SECRET not in server.log.read_text()


@pytest.fixture(scope="module")
def connect(clients, servers):
    """Connect with the server's authority and a certificate of ``authority``, if that is not None."""

    @contextmanager
    def make(server, authority=clients):
        mine = authority and authority.issue_cert("alice.example")
        pair = (mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()) if mine else (None, None)
        credentials = grpc.ssl_channel_credentials(servers.cert_pem.bytes(), *pair)
        options = [("grpc.ssl_target_name_override", SERVER)]
        with grpc.secure_channel(server.grpc_url, credentials, options) as channel:
            yield service_pb2_grpc.GRPCInferenceServiceStub(channel)

    return make


@pytest.fixture
def stub(guarded, connect):
    """Of a client with a certificate."""
    with connect(guarded) as stub:
        yield stub


def start(stub, script, *headers):
    return stub.ModelStreamInfer(iter([question(script.question)]), metadata=headers, timeout=60)


def check_that_it_is_refused(call, wants="s1-secret"):
    with pytest.raises(grpc.RpcError) as refused:
        call()
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNAVAILABLE, REFUSED % wants)


def test_who_has_a_certificate_and_the_secret_gets_a_whole_reply(stub, scripts, a):
    """Thinking, a refused end, an answer: some calls of s1 to its engine, over the same port with a certificate of its own."""
    kinds = list(events(start(stub, scripts.write([a, 2]), HEADER)))
    assert kinds[-1] == "done"
    assert {"thinking", "injected", "answer"} <= set(kinds)


@pytest.fixture(params=list(CLIENTS))
def ours(request, guarded, folder, servers, clients):
    """Our client of that server, with what it is given besides the server's authority."""
    servers.cert_pem.write_to_path(folder / "servers.pem")
    pair = write_pair(folder, "bob", clients.issue_cert("bob.example"))

    @contextmanager
    def make(*, certificate=True, **settings):
        own = {"cert_file": pair.cert, "key_file": pair.key} if certificate else {}
        tls = TLS(ca_file=folder / "servers.pem", server_name=SERVER, **own)
        with CLIENTS[request.param](guarded.grpc_url, model="s1_scripted", tls=tls, max_retries=0, **settings) as client:
            yield client

    return make


def test_our_client_gets_in_with_both_and_with_nothing_less(ours, scripts, a):
    script = scripts.write([a, 2], [a, 0])
    with ours(secret=f"s1-secret={SECRET}") as client:
        assert client.think(script.question, num_ignore=0, max_tokens=5).answer.endswith("a")
    for secret, problem in (
        (None, "wants a secret, and none was sent"),
        ("guessed", "refused the secret that was sent"),
        (SECRET, "wants a secret called s1-secret: set .* to s1-secret=VALUE"),  # its "=" makes "k3y" a name
    ):
        with ours(secret=secret) as client, pytest.raises(AccessDenied, match=problem) as refused:
            client.think(script.question)
        assert not refused.value.retryable
    with ours(secret=f"s1-secret={SECRET}", certificate=False) as client, pytest.raises(ConnectionFailed):
        client.think(script.question)


@pytest.mark.parametrize("headers", [[], [(HEADER[0], "guessed")]])
def test_without_the_secret_nothing_is_answered(stub, scripts, a, headers):
    check_that_it_is_refused(lambda: next(start(stub, scripts.write([a, 2]), *headers)))


OF_CLIENTS = [
    ("ModelInfer", question("x")),
    ("ModelConfig", service_pb2.ModelConfigRequest(name="s1_scripted")),
    ("ModelStatistics", service_pb2.ModelStatisticsRequest()),
]


@pytest.mark.parametrize(("method", "request_"), OF_CLIENTS)
def test_inference_and_looks_at_a_model_want_the_clients_secret(guarded, stub, method, request_):
    """The launcher's secret does not replace it."""
    check_that_it_is_refused(lambda: getattr(stub, method)(request_, timeout=20))
    check_that_it_is_refused(lambda: getattr(stub, method)(request_, timeout=20, metadata=admin_headers(guarded)))


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RepositoryIndex", service_pb2.RepositoryIndexRequest()),
        ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="s1_scripted")),
        ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="s1_scripted")),
        ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest()),
        ("CudaSharedMemoryStatus", service_pb2.CudaSharedMemoryStatusRequest()),
        ("TraceSetting", service_pb2.TraceSettingRequest()),
        ("LogSettings", service_pb2.LogSettingsRequest()),
    ],
)
def test_the_servers_controls_want_the_launchers_secret(stub, method, request_):
    """That of the clients does not replace it."""
    for headers in ([], [HEADER], [("triton-grpc-protocol-s1-admin", "guessed")]):
        check_that_it_is_refused(lambda headers=headers: getattr(stub, method)(request_, timeout=20, metadata=headers), wants="s1-admin")


def test_the_launcher_lists_the_models(guarded, stub):
    index = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True), metadata=admin_headers(guarded))
    assert {model.name for model in index.models} == {"s1_scripted", "scripted_llm"}


def test_health_and_metadata_do_not(stub):
    assert stub.ServerReady(service_pb2.ServerReadyRequest()).ready
    assert stub.ServerMetadata(service_pb2.ServerMetadataRequest()).name.startswith("s1_")


@pytest.mark.parametrize("authority", [None, trustme.CA()])
def test_without_a_certificate_of_theirs_nobody_gets_in(guarded, connect, authority):
    with connect(guarded, authority) as stub, pytest.raises(grpc.RpcError) as refused:
        stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_without_tls_nobody_gets_in(guarded):
    with grpc.insecure_channel(guarded.grpc_url) as channel, pytest.raises(grpc.RpcError) as refused:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerReady(service_pb2.ServerReadyRequest(), timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def over_http(server, path, body=None, **headers):
    request = urllib.request.Request(f"{server.http_url}/v2/{path}", None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_http_wants_the_secret_too(guarded, scripts, a):
    body = {"text_input": scripts.write([a, 2]).question}
    path = "models/s1_scripted/generate"
    assert over_http(guarded, path, body) == (403, """{"error":"This API is restricted, expecting header 's1-secret'"}""")
    assert over_http(guarded, path, body, **{"s1-secret": "guessed"})[0] == 403
    status, text = over_http(guarded, path, body, **{"s1-secret": SECRET})
    assert (status, json.loads(text)["event"]) == (200, "done")


CODE = b"class TritonPythonModel:\n    def initialize(self, args):\n        open('/dev/shm/s1-was-here', 'w')\n"
LOAD = {"config": json.dumps({"name": "evil", "backend": "python"}), "file:1/model.py": base64.b64encode(CODE).decode()}
EVIL_PAGE = {"Content-Type": "text/plain", "Origin": "https://evil.example", "Host": "evil.example"}


def test_a_page_in_a_browser_wants_the_secrets_as_well(guarded):
    """Such requests need no permission of the server's; a page cannot know the secrets, nor send their headers without permission."""
    assert over_http(guarded, "models/s1_scripted/generate", {"text_input": "x"}, **EVIL_PAGE)[0] == 403
    assert over_http(guarded, "repository/models/evil/load", {"parameters": LOAD}, **EVIL_PAGE)[0] == 403


CONTROLS = ["repository/models/s1_scripted/unload", "repository/index", "systemsharedmemory/region/x/register", "logging"]


@pytest.mark.parametrize("path", CONTROLS)
def test_http_controls_want_the_launchers_secret(guarded, path):
    expected = (403, """{"error":"This API is restricted, expecting header 's1-admin'"}""")
    assert over_http(guarded, path, {}) == over_http(guarded, path, {}, **{"s1-secret": SECRET}) == expected


@pytest.mark.parametrize("path", ["logging", "trace/setting", "systemsharedmemory/status"])
def test_http_looks_at_the_servers_inside_want_it_too(guarded, path):
    assert over_http(guarded, path, **{"s1-secret": SECRET})[0] == 403


@pytest.mark.parametrize("path", ["models/stats", "models/s1_scripted/config"])
def test_http_looks_at_a_model_want_the_clients_secret(guarded, path):
    assert over_http(guarded, path)[0] == 403
    assert over_http(guarded, path, **{"s1-secret": SECRET})[0] == 200


def test_the_health_check_needs_nothing(guarded, stub, scripts, a):
    """A reply comes first: this engine has no script for a canary, and is not ready after one."""
    assert list(events(start(stub, scripts.write([a, 2]), HEADER)))[-1] == "done"
    wait_until(lambda: why_not_ready(f"127.0.0.1:{guarded.ports.http}", f"127.0.0.1:{guarded.ports.metrics}") is None, seconds=15)


def test_it_lets_replies_finish_when_it_stops(make_server, connect, scripts, a, tmp_path):
    server = make_server(tmp_path)
    server.drains = True
    with server, connect(server) as stub:
        responses = events(start(stub, scripts.write([a] * 8 + [2], delay_ms=150), HEADER))
        kinds = [next(responses), next(responses)]
        server.stop()
        kinds.extend(responses)
    assert kinds[-1] == "done"


COMMAND = """
import os
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

files = [open(os.environ[name], "rb").read() for name in ("S1_CA_FILE", "S1_KEY_FILE", "S1_CERT_FILE")]
key, _, secret = os.environ["S1_SECRET"].partition("=")
url = os.environ["S1_URL"].removeprefix("grpcs://")
with grpc.secure_channel(url, grpc.ssl_channel_credentials(*files)) as channel:
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    found = stub.ModelConfig(service_pb2.ModelConfigRequest(name="s1"), metadata=[(f"triton-grpc-protocol-{key}", secret)])
    print(found.config.name)
"""


def test_the_launchers_command_is_let_in(root, servers, folder, security, tmp_path):
    """It finds all it needs in its environment. What s1 shows is, unless told otherwise, what the server shows."""
    pair = write_pair(tmp_path, "here", servers.issue_cert("s1.example", "localhost"))
    servers.cert_pem.write_to_path(tmp_path / "ca.pem")
    flags = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")] + [f"--cache={root / '.s1' / 'models'}"]
    flags += [f"--tls-cert={pair.cert}", f"--tls-key={pair.key}", f"--tls-client-ca={tmp_path / 'ca.pem'}"]
    flags += [f"--secret-file={folder / 'secret'}", f"--log={tmp_path / 'triton.log'}", "--", sys.executable, "-c", COMMAND]
    done = subprocess.run([sys.executable, "-m", "budgetforce.launcher", *flags], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "s1\n", done.stderr


class TestByDefault:
    """Without any option: the session's server, which has no certificates and no secret of its clients."""

    def test_everybody_may_infer(self, triton, over_grpc, scripts, a):
        assert over_grpc.think(scripts.write([a, 2], [a, 0]).question, num_ignore=0, max_tokens=5).answer.endswith("a")
        assert over_http(triton, "models/s1_scripted/config")[0] == 200

    @pytest.mark.parametrize("headers", [{}, EVIL_PAGE])
    def test_nobody_loads_a_model_that_brings_its_code(self, triton, headers):
        """Nor does a web page in a browser on the server's machine: such a request needs no permission of the server's."""
        assert over_http(triton, "repository/models/evil/load", {"parameters": LOAD}, **headers)[0] == 403
        assert not Path("/dev/shm/s1-was-here").exists()

    @pytest.mark.parametrize("path", CONTROLS)
    def test_nobody_changes_the_server(self, triton, path):
        assert over_http(triton, path, {})[0] == 403

    @pytest.mark.parametrize("method", ["GET", "OPTIONS"])
    def test_no_page_of_another_origin_is_permitted_anything(self, triton, method):
        """A page may send a plain request, and the browser then keeps the answer from it; a header such as the secret's it may not send."""
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "s1-secret"}
        request = urllib.request.Request(f"{triton.http_url}/v2", headers={"Origin": "https://evil.example", **asked}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                headers = response.headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        assert not [name for name in headers if name.lower().startswith("access-control-")]

    def test_other_users_cannot_read_prompts_in_shared_memory(self, triton, over_grpc, scripts, a):
        """Triton creates its regions with mode 0644. The stubs still reach theirs."""
        regions = list(Path("/dev/shm").glob(f"{triton._prefix}*"))
        assert len(regions) >= len(triton.models)
        assert {region.stat().st_mode & 0o777 for region in regions} == {0o600}
        assert over_grpc.think(scripts.write([a, 2], [a, 0]).question, num_ignore=0, max_tokens=5).answer.endswith("a")

    def test_grpc_is_no_way_round(self, triton):
        with grpc.insecure_channel(triton.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            unload = service_pb2.RepositoryModelUnloadRequest(model_name="s1_scripted")
            region = service_pb2.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=1)
            check_that_it_is_refused(lambda: stub.RepositoryModelUnload(unload, timeout=20), wants="s1-admin")
            check_that_it_is_refused(lambda: stub.SystemSharedMemoryRegister(region, timeout=20), wants="s1-admin")

    def test_the_secret_is_in_no_log_and_no_environment(self, triton):
        """Triton's arguments hold it; so other users of the machine can read it where /proc shows them."""
        assert triton.security.admin_secret not in triton.log.read_text()
        environment = Path(f"/proc/{triton.process.pid}/environ").read_bytes()
        assert triton.security.admin_secret.encode() not in environment
