# SPDX-License-Identifier: Apache-2.0
"""Bodies: JSON with one meaning, of a size that is checked before anything is parsed."""

import json
import socket

import pytest

from client.gateway.calls import CHAT, COMPLETIONS, CONTROL, MESSAGES, RESPONSES
from s1_client.gateway.errors import Refusal
from s1_client.gateway.strict_json import MAX_DEPTH, read_json

APIS = [CHAT, RESPONSES, COMPLETIONS, MESSAGES, CONTROL]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' stands in an object twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH} levels"),
        (b"[" * 200_000, f"nested deeper than {MAX_DEPTH} levels"),
        (b'{"a":' * 200_000, f"nested deeper than {MAX_DEPTH} levels"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_what_has_no_meaning_or_two_is_refused(body, why):
    with pytest.raises(Refusal) as refused:
        read_json(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
    assert f"the body is no valid JSON: {why}" in refused.value.message


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"messages": [{"content": "\\ud800"}]}', "messages[0].content"),
        (b'{"a": ["x", "\\udc00\\ud800"]}', "a[1]"),
        (b'{"\\uDC00": 1}', ": a key"),
    ],
)
def test_half_a_character_is_refused_with_its_path(body, path):
    with pytest.raises(Refusal) as refused:
        read_json(body)
    assert refused.value.param == path


def test_a_pair_of_surrogates_is_one_character():
    assert read_json(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("body", [b"[]", b"3", b'"a"', b"null"])
def test_a_body_that_is_no_object_is_refused(gateway, path, body):
    refused = gateway.post(path, body)
    assert (refused.status, refused.error["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(gateway, path, kind):
    refused = gateway.call("POST", path, b"{}", {"Content-Type": kind})
    assert (refused.status, refused.error["code"]) == (415, "unsupported_media_type")


def test_a_charset_beside_the_type_is_fine(gateway):
    body = json.dumps(gateway.chat_body("hi")).encode()
    assert gateway.call("POST", CHAT, body, {"Content-Type": "application/json; charset=utf-8"}).status == 200


@pytest.mark.parametrize("path", APIS)
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(gateway, path):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {8 << 20}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_refused_when_it_has_become_too_large(gateway):
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(head.encode())
        for _ in range(5):
            connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_body_of_millions_of_bytes_that_only_opens_is_refused_and_the_next_is_answered(gateway, opening):
    """Triton 24.10's own HTTP server dies of it."""
    refused = gateway.post(CHAT, opening * (4_000_000 // len(opening)))
    assert (refused.status, refused.error["code"]) == (400, "invalid_json")
    assert gateway.chat("still there?").status == 200


def test_a_body_in_chunks_of_one_byte_is_a_body_like_any_other(gateway, server):
    """Triton 24.10's own HTTP server dies of it."""
    text = "x" * 600_000
    body = json.dumps(gateway.chat_body(text)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(head.encode() + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert server.requests[-1].prompt == [{"role": "user", "content": text}]


def test_a_prompt_of_a_megabyte_reaches_the_server(gateway, server):
    text = "long " * 200_000
    assert gateway.chat(text).status == 200
    assert server.requests[-1].prompt == [{"role": "user", "content": text}]


def test_no_route_and_no_method_have_errors_of_the_same_shape(gateway):
    assert (gateway.get("/v1/embeddings").status, gateway.get("/v1/embeddings").error["code"]) == (404, "not_found")
    refused = gateway.get(CHAT)
    assert (refused.status, refused.error["code"], refused.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert refused.error["message"] == f"{CHAT}: got GET, allowed: POST"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", CHAT),
        (f"{CHAT}/", CHAT),
        (f"/v1{RESPONSES}", RESPONSES),
        (f"{CHAT}/chat/completions", CHAT),
        ("/openai/deployments/s1/chat/completions", CHAT),
        ("/completions", COMPLETIONS),
    ],
)
def test_a_wrong_base_url_is_told_the_right_route(gateway, path, meant):
    """And is not redirected: behind a proxy the gateway does not know its own scheme."""
    refused = gateway.post(path, gateway.chat_body("hi"))
    assert (refused.status, refused.error["code"]) == (404, "not_found")
    assert refused.error["message"] == f"POST {path}: no such route; did you mean {meant}?"


def test_a_route_that_nobody_can_guess_is_answered_by_all_that_there_are(gateway):
    message = gateway.post("/v1/embeddings", {}).error["message"]
    assert all(path in message for path in APIS)
    assert "/v1/models" in gateway.get("/v1/engines").error["message"]


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/"])
def test_a_monitor_may_ask_without_a_body(gateway, path):
    answer = gateway.call("HEAD", path)
    assert (answer.status, answer.text) == (200, "")


def test_the_openapi_document_has_the_names_of_the_apis(gateway):
    schemas = gateway.get("/openapi.json").json["components"]["schemas"]
    assert {"ChatRequest", "ResponsesRequest", "CompletionRequest", "MessagesRequest", "Control"} <= schemas.keys()
    assert not [name for name in schemas if name.startswith("_")]
