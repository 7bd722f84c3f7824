# SPDX-License-Identifier: Apache-2.0
"""The name of a caller's key is the tenant of its requests, whatever the caller says."""

import json

import pytest

from client.cli.running import call
from client.gateway.calls import CHAT, RESPONSES
from client.gateway.calls import gateway as a_gateway


def headers_of(server, question):
    return next(request.headers for request in server.requests if question in str(request.prompt))


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [True, False])
def test_the_key_names_the_tenant_and_the_caller_cannot(guarded, server, keys, path, stream):
    question = f"whose {path} {stream}"
    prompt = {"input": question} if path == RESPONSES else {"messages": [{"role": "user", "content": question}]}
    body = json.dumps({"model": "s1", "stream": stream, **prompt}).encode()
    headers = {"Authorization": f"Bearer {keys[1]['bob']}", "Content-Type": "application/json", "s1-tenant": "ann", "s1-tenant-secret": "x"}
    assert guarded.call("POST", path, body, headers).status == 200
    sent = headers_of(server, question)
    assert (sent["s1-tenant"], "s1-tenant-secret" in sent) == ("bob", False)


def test_a_body_cannot_name_the_tenant(guarded):
    for name in ("tenant", "s1-tenant"):
        refused = guarded.post(CHAT, guarded.chat_body("hi", **{name: "ann"}))
        assert (refused.status, refused.error["code"]) == (400, "unknown_field")


def test_without_keys_no_tenant_is_named(gateway, server):
    assert gateway.post(CHAT, gateway.chat_body("of nobody")).status == 200
    assert "s1-tenant" not in headers_of(server, "of nobody")


def test_the_secret_for_tenants_comes_from_a_file(server, keys, tmp_path):
    path, by_name = keys
    secret = tmp_path / "secret"
    secret.write_text("only-gateways\n")
    with a_gateway(server.url, "--keys-file", str(path), "--tenant-secret-file", str(secret), key=by_name["ann"]) as started:
        assert started.post(CHAT, started.chat_body("with a secret")).status == 200
    sent = headers_of(server, "with a secret")
    assert (sent["s1-tenant"], sent["s1-tenant-secret"]) == ("ann", "only-gateways")


@pytest.mark.parametrize("option", ["--secret-file", "--tenant-secret-file"])
@pytest.mark.parametrize(
    ("content", "why"), [(b"\n", "it is empty"), (b"\xff\xfe", "is no text"), (b"my\nsecret", "a character that a header cannot hold")]
)
def test_a_secret_that_cannot_be_sent_is_refused_and_never_quoted(tmp_path, option, content, why):
    file = tmp_path / "file"
    file.write_bytes(content)
    result = call("gateway", option, file, code=2)
    assert f"{option}: {file}: {why}" in result.stderr and "my" not in result.stderr.replace(str(file), "")


@pytest.mark.parametrize("stream", [True, False])
def test_a_key_cannot_raise_its_priority_above_other_keys(guarded, gateway, stream):
    """Priority stands above tenants. Without keys there are none to protect."""
    refused = guarded.post(CHAT, guarded.chat_body("hi", stream=stream, priority=1))
    assert (refused.status, refused.error["param"], refused.error["code"]) == (400, "priority", "invalid_value")
    assert "got 1, allowed: at most 0 at this gateway (s1 gateway --max-priority)" in refused.error["message"]
    assert guarded.post(CHAT, guarded.chat_body("hi", priority=-1)).status == 200
    assert gateway.post(CHAT, gateway.chat_body("hi", priority=5)).status == 200
