# SPDX-License-Identifier: Apache-2.0
"""A language model as judge, tested with a small server of OpenAI's chat API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from s1_client.evaluation import GRADERS, Judge, JudgeFailed
from s1_client.evaluation.grading.judge import Ungraded, verdict


class Api(BaseHTTPRequestHandler):
    """Reply ``says`` to every request, and record the requests."""

    says, status, requests = "same", 200, []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).requests.append((self.path, self.headers["Authorization"], body))
        answer = self.says if self.status != 200 else json.dumps({"choices": [{"message": {"content": self.says}}]})
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(Api, "requests", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("S1_JUDGE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("S1_JUDGE_MODEL", "wise")
        monkeypatch.setenv("OPENAI_API_KEY", "a key")
        monkeypatch.delenv("S1_JUDGE_CACHE", raising=False)
        yield Api
        server.shutdown()
        thread.join()


def test_the_request_follows_the_chat_api(api):
    assert GRADERS["judge"](r"I get \boxed{\frac12}", "one half")
    [(path, key, body)] = api.requests
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer a key", "wise", 0)
    assert "one half" in body["messages"][0]["content"] and r"\frac12" in body["messages"][0]["content"]


def test_answers_that_rules_accept_send_no_request(api):
    assert GRADERS["judge"]("Answer: 023", "23") and GRADERS["judge"](r"\boxed{One half}", "one  half")
    assert not GRADERS["judge"](r"\boxed{24}", "23") and not GRADERS["judge"]("", "23")
    assert api.requests == []


def test_verdicts_are_kept(api, tmp_path, monkeypatch):
    monkeypatch.setenv("S1_JUDGE_CACHE", str(tmp_path / "verdicts.jsonl"))
    monkeypatch.setattr(api, "says", "Different.")
    assert [GRADERS["judge"]("Answer: a half", "0.3") for _ in range(2)] == [False, False]
    assert len(api.requests) == 1
    assert GRADERS["judge"]("Answer: a third", "0.3") is False
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("judge_reply", "is_same"),
    [
        ("same", True),
        ("Different.", False),
        ("The same", True),
        ("**same**", True),
        ("`Different`", False),
        ('"same"', True),
        (r"\boxed{\text{different}}", False),
        ("Verdict: **same**", True),
        ("The answer is: different", False),
        ("My final verdict is **Same**.", True),
        ("Same. Both are one half.", True),
        ("same (one is a fraction)", True),
        ("same\n\nBoth are 1/2, in a different notation.", True),
        ("Both are 1/2, in a different notation.\n\n**same**\n", True),
        ("<think>\nIs it the same? 3 is not 4, so different\n</think>\n\ndifferent", False),
        ("so they differ; not the same</think>same", True),
        ("<think>one</think> <think>another</think>\nsame", True),
    ],
)
def test_a_verdict_is_read_after_thinking_and_in_markup(judge_reply, is_same):
    assert verdict(judge_reply) is is_same


@pytest.mark.parametrize(
    "judge_reply",
    ["", "yes", "same or different", "None", "not the same", "same as the other", "<think>same", "same\ndifferent", "same, not different"],
)
def test_a_reply_without_a_verdict_leaves_an_answer_ungraded(api, monkeypatch, judge_reply):
    """The evaluation continues, and no verdict is cached."""
    monkeypatch.setattr(api, "says", judge_reply)
    with pytest.raises(Ungraded, match="allowed: same or different"):
        GRADERS["judge"]("Answer: a half", "0.3")


def test_a_judge_without_content_or_that_refuses_the_texts_leaves_an_answer_ungraded(api, monkeypatch):
    monkeypatch.setattr(api, "says", None)
    with pytest.raises(Ungraded):
        GRADERS["judge"]("Answer: a half", "0.3")
    monkeypatch.setattr(api, "status", 400)
    monkeypatch.setattr(api, "says", "context length exceeded")
    with pytest.raises(Ungraded, match="HTTP 400: context length exceeded"):
        GRADERS["judge"]("Answer: a half", "0.3")


def test_a_torn_line_of_the_verdicts_is_dropped(api, tmp_path, monkeypatch):
    cache = tmp_path / "verdicts.jsonl"
    monkeypatch.setenv("S1_JUDGE_CACHE", str(cache))
    assert GRADERS["judge"]("Answer: a half", "0.5")
    cache.write_bytes(b"\xef\xbb\xbf" + cache.read_bytes() + b'\r\n{"asked": "12')
    assert GRADERS["judge"]("Answer: a half", "0.5") and len(api.requests) == 1
    assert [GRADERS["judge"]("Answer: a third", "0.5") for _ in range(2)] == [True, True] and len(api.requests) == 2


def test_its_failures_raise_judge_failed(api, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "status", 429)
    monkeypatch.setattr(api, "says", "slow down")
    with pytest.raises(JudgeFailed, match="HTTP 429: slow down"):
        GRADERS["judge"]("Answer: a", "b")
    with pytest.raises(JudgeFailed, match="judge http://127.0.0.1:1: URLError"):
        Judge(model="m", url="http://127.0.0.1:1").is_same("a", "b")
    for host in ("a b", "a" * 64 + ".com"):  # neither of Python's errors is an OSError
        with pytest.raises(JudgeFailed, match=f"judge http://{host}: "):
            Judge(model="m", url=f"http://{host}").is_same("a", "b")
    (tmp_path / "other").write_text("[]\n")
    with pytest.raises(JudgeFailed, match="not a file of verdicts"):
        Judge(model="m", cache=tmp_path / "other").is_same("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "match"), [("S1_JUDGE_MODEL", "", "needs the model"), ("S1_JUDGE_URL", "file:///x", "allowed: http")]
)
def test_missing_settings_are_named(api, monkeypatch, name, value, match):
    monkeypatch.setenv(name, value)
    with pytest.raises(JudgeFailed, match=match):
        GRADERS["judge"]("Answer: a", "b")


def test_the_key_is_not_shown():
    assert "secret" not in repr(Judge(model="m", key="secret"))
