# SPDX-License-Identifier: Apache-2.0
"""A language model as judge, in front of a small server of OpenAI's chat API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from s1_client.evaluation import GRADERS, Judge, JudgeFailed
from s1_client.evaluation._judge import verdict


class Api(BaseHTTPRequestHandler):
    """Says ``says`` to everything, and keeps what it was asked."""

    says, status, asked = "same", 200, []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append((self.path, self.headers["Authorization"], body))
        answer = self.says if self.status != 200 else json.dumps({"choices": [{"message": {"content": self.says}}]})
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(Api, "asked", [])
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


def test_it_is_asked_by_the_chat_api(api):
    assert GRADERS["judge"](r"I get \boxed{\frac12}", "one half")
    [(path, key, body)] = api.asked
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer a key", "wise", 0)
    assert "one half" in body["messages"][0]["content"] and r"\frac12" in body["messages"][0]["content"]


def test_what_the_rules_can_tell_costs_nothing(api):
    assert GRADERS["judge"]("Answer: 023", "23") and GRADERS["judge"](r"\boxed{One half}", "one  half")
    assert not GRADERS["judge"](r"\boxed{24}", "23") and not GRADERS["judge"]("", "23")
    assert api.asked == []


def test_verdicts_are_kept(api, tmp_path, monkeypatch):
    monkeypatch.setenv("S1_JUDGE_CACHE", str(tmp_path / "verdicts.jsonl"))
    monkeypatch.setattr(api, "says", "Different.")
    assert [GRADERS["judge"]("Answer: a half", "0.3") for _ in range(2)] == [False, False]
    assert len(api.asked) == 1
    assert GRADERS["judge"]("Answer: a third", "0.3") is False
    assert len(api.asked) == 2


@pytest.mark.parametrize("said", ["", "yes", "The same", "same or different", "None"])
def test_it_keeps_to_two_words_or_is_refused(said):
    with pytest.raises(JudgeFailed, match="allowed: same or different"):
        verdict(said)


def test_its_failures_are_told(api, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "status", 429)
    monkeypatch.setattr(api, "says", "slow down")
    with pytest.raises(JudgeFailed, match="HTTP 429: slow down"):
        GRADERS["judge"]("Answer: a", "b")
    with pytest.raises(JudgeFailed, match="judge http://127.0.0.1:1: URLError"):
        Judge(model="m", url="http://127.0.0.1:1").is_same("a", "b")
    (tmp_path / "other").write_text("[]\n")
    with pytest.raises(JudgeFailed, match="not a file of verdicts"):
        Judge(model="m", cache=tmp_path / "other").is_same("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "match"), [("S1_JUDGE_MODEL", "", "needs the model"), ("S1_JUDGE_URL", "file:///x", "allowed: http")]
)
def test_what_it_lacks_is_told(api, monkeypatch, name, value, match):
    monkeypatch.setenv(name, value)
    with pytest.raises(JudgeFailed, match=match):
        GRADERS["judge"]("Answer: a", "b")


def test_the_key_is_not_shown():
    assert "secret" not in repr(Judge(model="m", key="secret"))
