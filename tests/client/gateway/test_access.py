# SPDX-License-Identifier: Apache-2.0
"""The file of keys, and who may call."""

import hashlib
import socket
import stat

import pytest

from client.cli.running import call
from client.gateway.calls import CHAT, CONTROL
from s1_client.cli.server.gateway import gateway as gateway_command
from s1_client.gateway.access import add_key, owner_of, read_keys
from s1_client.gateway.command import settings_of
from s1_client.gateway.settings import GatewaySettings


def test_a_new_key_is_stored_as_its_hash_alone(tmp_path):
    path = tmp_path / "keys"
    key = add_key(path, "ann")
    assert read_keys(path) == {hashlib.sha256(key.encode()).hexdigest(): "ann"}
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (owner_of(key, read_keys(path)), owner_of(key[:-1], read_keys(path))) == ("ann", None)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a\nb"])
def test_a_name_that_does_not_fit_on_a_line_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="--add-key: got"):
        add_key(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_a_name_has_one_key(tmp_path):
    add_key(tmp_path / "keys", "ann")
    with pytest.raises(ValueError, match="has a key of 'ann' already"):
        add_key(tmp_path / "keys", "ann")


@pytest.mark.parametrize("line", ["s1-aKeyInPlainText", "ann 00ff", f"ann {'0' * 64} x", f"bob {'0' * 64}"])
def test_a_line_that_is_no_key_is_named_by_its_number_and_never_quoted(tmp_path, line):
    path = tmp_path / "keys"
    path.write_text(f"# ours\nbob {'1' * 64}\n\n{line}\n")
    with pytest.raises(ValueError, match="line 4: ") as error:
        read_keys(path)
    assert line not in str(error.value)


def test_a_file_without_keys_is_refused(tmp_path):
    (tmp_path / "keys").write_text("# none\n")
    with pytest.raises(ValueError, match="holds no key"):
        read_keys(tmp_path / "keys")


# --- a gateway with keys ------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", CHAT), ("POST", CONTROL)])
def test_a_caller_without_a_key_learns_nothing(guarded, headers, method, path):
    answer = guarded.call(method, path, b"{}", {"Authorization": "", "Content-Type": "application/json", **headers})
    assert (answer.status, answer.error["code"], answer.headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    assert answer.headers["x-should-retry"] == "false"


def test_a_key_opens_the_gateway_in_either_header(guarded, keys):
    assert guarded.get("/v1/models").status == 200
    assert guarded.get("/v1/models", Authorization="", **{"X-Api-Key": keys[1]["bob"]}).status == 200


def test_health_and_the_page_are_open_and_metrics_as_configured(guarded, gateway):
    assert [guarded.get(path, Authorization="").status for path in ("/health", "/", "/metrics")] == [200, 200, 200]
    assert gateway.get("/metrics").status == 200


def test_a_request_of_another_key_cannot_be_controlled(guarded, server, keys):
    """It looks as if there were none."""
    server.says(to="of ann", thinking="one " * 200, token_delay_s=0.05)
    with guarded.streamed(CHAT, guarded.chat_body("of ann", stream=True)) as stream:
        chunks = stream.chunks()
        command = {"id": next(chunks)["id"], "action": "reasoning_end"}
        as_bob = {"Authorization": f"Bearer {keys[1]['bob']}", "Content-Type": "application/json"}
        answers = [
            guarded.call("POST", CONTROL, f'{{"id": "{name}", "action": "cancel"}}'.encode(), as_bob) for name in (command["id"], "none")
        ]
        assert [(answer.status, answer.error["code"]) for answer in answers] == [(404, "request_not_found")] * 2
        assert guarded.post(CONTROL, command).json == {**command, "success": True}
        *_, last = chunks
    assert last["s1"]["finish_reason"]["thinking"] == "answer_now"


def test_a_key_has_a_limit_of_open_requests_of_its_own(guarded, server, keys):
    server.says(to="slow", thinking="one " * 200, token_delay_s=0.05)
    body = guarded.chat_body("slow", stream=True)
    with guarded.streamed(CHAT, body) as first, guarded.streamed(CHAT, body) as second:
        next(first.chunks()), next(second.chunks())
        refused = guarded.chat("hi")
        assert (refused.status, refused.error["type"], refused.headers["retry-after"]) == (429, "rate_limit_error", "1")
        other = guarded.call(
            "POST",
            CHAT,
            b'{"model": "s1", "messages": [{"role": "user", "content": "hi"}]}',
            {"Authorization": f"Bearer {keys[1]['bob']}", "Content-Type": "application/json"},
        )
        assert other.status == 200


# --- browsers ------------------------------------------------------------------------------------


def test_a_page_of_another_origin_gets_nothing_by_default(gateway):
    """No header, so that its browser hides the reply; and no reply to a request that a browser sends without asking first."""
    answer = gateway.get("/v1/models", Origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    simple = gateway.call("POST", CHAT, b'{"model": "s1", "messages": [{"role": "user", "content": "hi"}]}', {"Content-Type": "text/plain"})
    assert (simple.status, simple.error["code"]) == (415, "unsupported_media_type")
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert gateway.call("OPTIONS", CHAT, headers=preflight).status == 405


def test_an_origin_that_is_allowed_may_send_a_key(guarded):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    allowed = guarded.call("OPTIONS", CHAT, headers={"Authorization": "", "Origin": "https://chat.example", **asked})
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (200, "https://chat.example")
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    assert guarded.call("OPTIONS", CHAT, headers={"Authorization": "", "Origin": "https://evil.example", **asked}).status == 400


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1", 200), ("localhost:8080", 200), ("[::1]:8080", 200), ("evil.example", 421), ("", 421)]
)
def test_on_loopback_only_its_own_names_are_hosts(gateway, host, status):
    """A page whose name was pointed at this machine after it was loaded has its own name as Host."""
    assert gateway.get("/v1/models", Host=host).status == status


@pytest.mark.parametrize(
    ("address", "added", "names"),
    [
        ("127.0.0.1", (), {"localhost", "127.0.0.1", "[::1]"}),
        ("127.0.0.1", ("Chat.example",), {"localhost", "127.0.0.1", "[::1]", "chat.example"}),
        ("0.0.0.0", (), set()),
        ("0.0.0.0", ("chat.example",), {"chat.example"}),
    ],
)
def test_an_allowed_host_is_added_to_the_names_of_loopback(address, added, names):
    defaults = {option.name: option.default for option in gateway_command.params}
    settings = settings_of(
        **{**defaults, "keys_file": None, "host": address, "allowed_hosts": added, "allow_anyone": True, "cors_origins": ()}
    )
    assert settings.allowed_hosts == names  # none = any


@pytest.mark.parametrize("host", ["10.1.2.3:8080", "", "gateway.example"])
def test_health_may_be_asked_under_any_name(gateway, host):
    """A probe of Kubernetes names the address of the pod, and one of HAProxy nothing at all."""
    assert gateway.get("/health", Host=host).json == {"status": "ok"}


def test_a_page_with_openais_client_may_call_and_sees_whether_to_try_again(guarded):
    """openai for npm sends headers of its own, and obeys ``x-should-retry`` only where the browser shows it."""
    own = "authorization, content-type, x-stainless-arch, x-stainless-retry-count, x-stainless-timeout"
    preflight = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": own}
    assert guarded.call("OPTIONS", CHAT, headers=preflight).status == 200
    shown = guarded.get("/v1/models", Origin="https://chat.example").headers["access-control-expose-headers"]
    assert {"retry-after", "x-request-id", "x-should-retry"} <= set(shown.split(", "))


# --- connections ---------------------------------------------------------------------------------


def test_a_connection_without_requests_is_closed_after_its_time(guarded):
    """Here after a second."""
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while received := connection.recv(65536):
            assert b"503" not in received


def test_it_keeps_connections_longer_than_the_proxies_before_it():
    """Else a proxy sends a request on a connection that is being closed, and answers 502: Go's pool keeps one for 90 s."""
    assert GatewaySettings().keep_alive_s > 90


def test_the_page_runs_no_script_from_elsewhere(gateway):
    policy = gateway.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


# --- the command ----------------------------------------------------------------------------------


def test_a_gateway_listens_without_keys_on_this_machine_alone():
    refused = call("gateway", "--host", "0.0.0.0", code=2)
    assert "allowed: a loopback address, or any address with --keys-file" in " ".join(refused.stderr.split())


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = call("gateway", "--port", port, code=2)
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in " ".join(refused.stderr.split())


def test_the_command_makes_a_key(tmp_path):
    key = call("gateway", "--keys-file", tmp_path / "keys", "--add-key", "ann").stdout.strip()
    assert owner_of(key, read_keys(tmp_path / "keys")) == "ann"
    assert "--keys-file FILE" in call("gateway", "--add-key", "bob", code=2).stderr


def test_a_file_of_keys_that_cannot_be_read_is_one_sentence(tmp_path):
    assert "No such file" in call("gateway", "--keys-file", tmp_path / "none", code=2).stderr
