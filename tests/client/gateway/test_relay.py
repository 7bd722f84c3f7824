# SPDX-License-Identifier: Apache-2.0
"""The relay: real statuses, ends of failed streams, silence, control, and callers that leave."""

import re
import signal

import pytest

from client.gateway.calls import CHAT, COMPLETIONS, CONTROL, MESSAGES, RESPONSES, gateway, texts
from s1_client import ConnectionFailed, DeadlineExceeded, EngineFailed, InvalidRequest, Overloaded, ServerFailed, ServerNotReady
from s1_client.testing import FakeServer
from server.waiting import wait_until

PATHS = {CHAT: "messages", RESPONSES: "input", COMPLETIONS: "prompt", MESSAGES: "messages"}
OPENAI = [CHAT, RESPONSES, COMPLETIONS]


def body_of(path, question, **fields):
    prompt = [{"role": "user", "content": question}] if PATHS[path] == "messages" else question
    return {"model": "s1", PATHS[path]: prompt, **({"max_tokens": 4000} if path == MESSAGES else {}), **fields}


ERRORS = [
    (InvalidRequest("top_p", "7.0", "0 < top_p <= 1"), 400, "invalid_request_error", "invalid_value", {}),
    (Overloaded("full", retry_after_s=2.5), 429, "rate_limit_error", "overloaded", {"retry-after": "3"}),
    (ServerNotReady("no engine"), 503, "server_error", "engine_unavailable", {"retry-after": "5"}),
    (DeadlineExceeded("late"), 408, "timeout", "deadline", {"x-should-retry": "false"}),
    (EngineFailed("out of blocks"), 500, "server_error", "engine_failed", {"x-should-retry": "false"}),
    (ServerFailed("a bug"), 500, "server_error", "internal", {"x-should-retry": "false"}),
    (ConnectionFailed("gone"), 503, "server_error", "server_unreachable", {"retry-after": "5"}),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("error", "status", "kind", "code", "headers"), ERRORS, ids=lambda value: type(value).__name__)
def test_a_request_that_the_server_refuses_has_a_status_and_says_whether_to_retry(
    gateway, server, path, stream, error, status, kind, code, headers
):
    server.will_say(error=error)
    refused = gateway.post(path, body_of(path, "hi", stream=stream))
    assert (refused.status, refused.error["code"]) == (status, code)
    assert path == MESSAGES or refused.error["type"] == kind
    assert headers.items() <= refused.headers.items()
    assert ("retry-after" in refused.headers) == ("retry-after" in headers)


@pytest.mark.parametrize("path", OPENAI)
def test_a_stream_that_fails_ends_with_an_error_and_done(gateway, server, path):
    server.will_say(thinking="one two three", error=EngineFailed("out of blocks"), error_after=2)
    with gateway.streamed(path, body_of(path, "hi", stream=True)) as stream:
        assert stream.status == 200
        *_, last = stream.chunks()
    error = last["response"]["error"] if path == RESPONSES else last["error"]
    assert "out of blocks" in error["message"]
    assert error["code"] == ("server_error" if path == RESPONSES else "engine_failed")
    assert path != RESPONSES or (last["type"], last["response"]["status"]) == ("response.failed", "failed")


def test_a_refused_field_is_named_as_the_caller_spelt_it(gateway, server):
    server.will_say(error=InvalidRequest("max_thinking_tokens", "99999", "-1 to 500"))
    refused = gateway.chat(reasoning={"max_tokens": 99999})
    assert refused.error["param"] == "reasoning.max_tokens"
    assert "(field max_thinking_tokens of the server)" in refused.error["message"]


def test_a_budget_and_a_bound_that_leave_no_answer_are_refused_as_the_caller_spelt_them(gateway):
    refused = gateway.chat(reasoning={"max_tokens": 100}, max_completion_tokens=100)
    assert (refused.status, refused.error["param"]) == (400, "reasoning.max_tokens")
    assert "allowed: -1 to 99: max_completion_tokens 100 bounds thinking and answer together" in refused.error["message"]
    assert gateway.chat(reasoning={"max_tokens": 99}, max_completion_tokens=100).status == 200


@pytest.mark.parametrize("path", PATHS)
def test_another_model_does_not_exist(gateway, path):
    refused = gateway.post(path, {**body_of(path, "hi"), "model": "gpt-4"})
    assert (refused.status, refused.error["code"], refused.error["param"]) == (404, "model_not_found", "model")


def test_a_message_has_the_keys_that_openais_type_requires(gateway):
    """``refusal`` among them, as null; ``tool_calls`` is none of them."""
    message = gateway.chat().json["choices"][0]["message"]
    assert message.keys() == {"role", "content", "refusal", "reasoning_content"}
    assert message["refusal"] is None


def test_models(gateway):
    listed = gateway.get("/v1/models").json
    assert [entry["id"] for entry in listed["data"]] == ["s1"]
    assert gateway.get("/v1/models/s1").json == listed["data"][0]
    assert gateway.get("/v1/models/gpt-4").error["code"] == "model_not_found"


def test_a_silent_stream_is_pinged_before_and_within_its_events(gateway, server):
    server.will_say(thinking="one two", answer="three", start_delay_s=1.2, token_delay_s=0.5)
    with gateway.streamed(CHAT, gateway.chat_body("hi", stream=True, num_ignore=0)) as stream:
        frames = list(stream.frames())
    pings = [number for number, frame in enumerate(frames) if frame == ": ping"]
    first, last = (next(n for n, frame in enumerate(frames) if word in frame) for word in ("one", "three"))
    assert any(number < first for number in pings)
    assert any(first < number < last for number in pings)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")


def test_a_refusal_after_the_stream_has_begun_is_a_frame(gateway, server):
    """The status is sent after --first-event-s, here 0.5."""
    server.will_say(start_delay_s=0.8, error=Overloaded("full"))
    with gateway.streamed(CHAT, gateway.chat_body("hi", stream=True)) as stream:
        assert stream.status == 200
        *_, last = stream.chunks()
    assert last["error"]["code"] == "overloaded"


# --- callers that leave ---------------------------------------------------------------------------


def received(server, question):
    return [request for request in server.requests if question in str(request.prompt)]


MOMENTS = {
    "queued": {"start_delay_s": 0.5, "thinking": "one " * 1000, "token_delay_s": 0.02},  # a busy machine may be slow to notice
    "silent": {"thinking": "one", "token_delay_s": 10},
    "thinking": {"thinking": "one " * 1000, "token_delay_s": 0.02},
    "answering": {"thinking": "one", "answer": "two " * 1000, "token_delay_s": 0.02},
}

SHOWN = {"thinking": b"one", "answering": b"two"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_caller_that_leaves_frees_the_engine(gateway, server, path, stream, moment):
    """The fake server notes how a request ended; the real one's engine is watched in tests/server."""
    question = f"{path} {stream} {moment}"
    server.says(to=question, **MOMENTS[moment])
    with gateway.unread(path, body_of(path, question, stream=stream)) as connection:
        wait_until(lambda: received(server, question), seconds=10)
        seen = b""
        while stream and SHOWN.get(moment, b"") not in seen:
            seen += connection.recv(65536)
    wait_until(lambda: received(server, question)[0].end is not None, seconds=2)
    assert received(server, question)[0].end == "Cancelled"


def test_a_caller_that_left_is_counted(gateway):
    text = gateway.get("/metrics").text
    assert 's1_gateway_requests_total{api="chat",status="499"}' in text
    assert 's1_gateway_open_requests{api="chat"} 0.0' in text


def test_callers_cannot_make_metrics(gateway, guarded):
    """A label of a caller's own choice would be a time series for ever."""
    for path in ("/v1/models/anything", "/v1/anything", "/anything"):
        assert gateway.get(path).status == 404
    assert guarded.get("/v1/models", Authorization="").status == 401
    text = gateway.get("/metrics").text
    assert "anything" not in text
    assert {'{api="models",status="404"}', '{api="other",status="404"}'} <= set(re.findall(r"s1_gateway_requests_total({.*})", text))
    assert 's1_gateway_requests_total{api="models",status="401"}' in guarded.get("/metrics").text


def test_refusals_have_the_label_of_their_api(gateway, server):
    server.will_say(error=Overloaded("full"))
    assert [gateway.chat(max_tokens=0).status, gateway.chat().status] == [400, 429]
    labels = set(re.findall(r's1_gateway_requests_total{api="(.*?)",', gateway.get("/metrics").text))
    assert labels <= {"chat", "control", "responses", "completions", "messages", "models", "other"}


def test_a_stream_that_is_read_to_its_end_leaves_nothing_open(gateway, server):
    gateway.chat_chunks("to its end")
    assert received(server, "to its end")[0].end == "done"


# --- control --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OPENAI)
def test_answer_now_closes_the_thought_and_the_stream_goes_on(gateway, server, path):
    server.says(to="answer now", thinking="one " * 1000, answer="two", token_delay_s=0.02)
    with gateway.streamed(path, body_of(path, "answer now", stream=True, num_ignore=0)) as stream:
        chunks = stream.chunks()
        first = next(chunks)
        command = {"id": first["response"]["id"] if path == RESPONSES else first["id"], "action": "reasoning_end"}
        assert gateway.post(CONTROL, command).json == {**command, "success": True}
        *_, last = chunks
    told = last["response"]["s1"] if path == RESPONSES else last["s1"]
    assert told["finish_reason"] == {"thinking": "answer_now", "answer": "stop"}


def test_cancel_ends_the_stream_with_an_error(gateway, server):
    server.says(to="cancel me", thinking="one " * 1000, token_delay_s=0.02)
    with gateway.streamed(CHAT, gateway.chat_body("cancel me", stream=True)) as stream:
        chunks = stream.chunks()
        assert gateway.post(CONTROL, {"id": next(chunks)["id"], "action": "cancel"}).status == 200
        *_, last = chunks
    assert last["error"]["code"] == "cancelled"


def test_a_request_that_is_over_cannot_be_controlled(gateway):
    over = gateway.chat().json["id"]
    for name in (over, "nobody's"):
        refused = gateway.post(CONTROL, {"id": name, "action": "reasoning_end"})
        assert (refused.status, refused.error["param"]) == (404, "id")
    refused = gateway.post(CONTROL, {"id": over, "action": "stop"})
    assert (refused.status, refused.error["param"]) == (400, "action")


# --- a server that is not there ---------------------------------------------------------------------


def test_a_gateway_without_its_server_says_so():
    with FakeServer() as server:
        url = server.url
    with gateway(url) as lonely:
        health = lonely.get("/health")
        assert (health.status, health.json["status"], health.headers["retry-after"]) == (503, "unavailable", "5")
        assert "no server at" in health.json["reason"]
        refused = lonely.chat(stream=True)
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "server_unreachable", "5")


def test_a_server_that_goes_away_in_a_stream_ends_it_with_an_error():
    server = FakeServer()
    with server, gateway(server.url) as lonely:
        server.says(thinking="one " * 1000, token_delay_s=0.02)
        with lonely.streamed(CHAT, lonely.chat_body("hi", stream=True)) as stream:
            chunks = stream.chunks()
            while "one" not in texts([next(chunks)])[0]:
                pass
            server.__exit__(None, None, None)
            *_, last = chunks
        assert last["error"]["code"] == "server_unreachable"


def test_a_gateway_that_is_interrupted_ends_its_open_streams_first(server):
    """SIGTERM, by which all other gateways of these tests are stopped, does the same."""
    server.says(to="to the end", thinking="one " * 10, token_delay_s=0.05)
    with gateway(server.url) as stopping, stopping.streamed(CHAT, stopping.chat_body("to the end", stream=True, num_ignore=0)) as stream:
        chunks = stream.chunks()
        next(chunks)
        stopping.process.send_signal(signal.SIGINT)
        *_, last = chunks
        assert last["choices"][0]["finish_reason"] == "stop"
        assert stopping.process.wait(timeout=10) == 0


def test_a_gateway_that_gets_many_signals_ends_as_with_one(server):
    with gateway(server.url) as stopping:
        while stopping.process.poll() is None:
            stopping.process.send_signal(signal.SIGTERM)
        assert stopping.process.returncode == 0
