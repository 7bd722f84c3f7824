# SPDX-License-Identifier: Apache-2.0
"""A teacher's replies become traces, or drops with a reason; what was answered is never asked again."""

import random
import threading

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import trace
from budgetforce.curating.answers import Answers
from budgetforce.curating.rows import question_id
from budgetforce.curating.teachers.base import Trace
from budgetforce.curating.teachers.chat_api import ChatApi
from budgetforce.curating.teachers.chat_settings import ChatApiSettings
from budgetforce.curating.teachers.columns import ColumnsSettings
from budgetforce.curating.teachers.openai import OpenAISettings
from budgetforce.curating.teachers.rules import RulesSettings
from budgetforce.curating.teachers.s1 import S1Settings
from curating.fake_chat_api import FakeChatApi, completion, think
from s1_client.testing import FakeServer


def rows(*questions):
    return [{"id": question_id(text), "question": text, "source": "test", "metadata": {}, "columns": {}} for text in questions]


QUESTIONS = ("1+3?", "2+2?", "8-4?", "2*2?")


@pytest.fixture
def api():
    with FakeChatApi() as api:
        yield api


@pytest.fixture
def ask(tmp_path, api):
    """Trace questions by the chat API, with replies kept in one folder."""

    def run(*questions, **options):
        settings = OpenAISettings(
            teacher="openai", model="m", url=api.url, **{"pause_s": 0.0, "num_retries": 1, "concurrency": 1} | options
        )
        return trace.run(rows(*questions), settings, random.Random(0), Answers(folder=tmp_path / "answers"))

    return run


def reasons(outcome):
    return {drop.id: drop.reason for drop in outcome.dropped}


def test_a_reply_becomes_a_trace(ask, api, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    (row,) = ask("2+2?", temperature=0.5, system="Think.", max_tokens=99, body={"reasoning_effort": "high"}).rows
    assert (row["thinking"], row["attempt"]) == ("About 2+2?", "Answer: 4")
    assert (row["teacher"]["name"], row["teacher"]["model"]) == ("openai", "teacher-1")
    assert api.requests == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}],
            "max_tokens": 99,
            "temperature": 0.5,
            "reasoning_effort": "high",
        }
    ]
    assert api.keys == ["Bearer secret"]


def test_answered_questions_are_not_asked_again(ask, api):
    first = ask(*QUESTIONS[:2])
    both = ask(*QUESTIONS)
    assert sorted(api.questions) == sorted(QUESTIONS)
    assert first.rows == both.rows[:2]
    ask(*QUESTIONS, temperature=1.0)  # another teacher
    assert len(api.questions) == 8


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_teacher_that_dies_fails_the_stage_and_the_next_run_asks_only_the_rest(ask, api, concurrency):
    died = threading.Event()

    def reply(question):
        if len(api.requests) > 2:
            died.set()
        return None if died.is_set() else think(question)

    api.reply = reply
    with pytest.raises(
        BuildFailed, match=r"/v1: question \w{16}: RemoteDisconnected.*\(2 attempts\); replies so far are kept: run it again"
    ):
        ask(*QUESTIONS, concurrency=concurrency)
    api.reply, num_asked = think, len(api.requests)
    assert len(ask(*QUESTIONS, concurrency=concurrency).rows) == 4
    assert len(api.requests) == num_asked + 2


def test_a_busy_teacher_is_asked_again(ask, api):
    replies = iter([(503, b"busy"), (429, b"slow down"), think("2+2?")])
    api.reply = lambda _: next(replies)
    assert len(ask("2+2?", num_retries=2).rows) == 1


@pytest.mark.parametrize(("status", "message"), [(401, "HTTP 401: wrong key"), (404, "HTTP 404: no such model")])
def test_a_teacher_that_refuses_us_fails_at_once(ask, api, status, message):
    api.reply = lambda _: (status, message.partition(": ")[2].encode())
    with pytest.raises(BuildFailed, match=message):
        ask(*QUESTIONS)
    assert len(api.requests) == 1


def test_nobody_there_is_a_sentence(tmp_path):
    with FakeChatApi() as gone:
        url = gone.url
    settings = OpenAISettings(teacher="openai", model="m", url=url, num_retries=0, pause_s=0.0)
    with pytest.raises(BuildFailed, match=r"Connection refused \(1 attempt\)"):
        trace.run(rows("2+2?"), settings, random.Random(0), Answers(folder=tmp_path))


def test_a_question_without_a_reply_is_dropped_while_others_get_theirs_and_asked_again_later(ask, api):
    last_attempt, other_kept = threading.Event(), threading.Event()

    def reply(question):
        if question != "2+2?":
            last_attempt.wait(60)
            return think(question)
        if api.questions.count(question) == 2:
            last_attempt.set()
            other_kept.wait(60)
        return 500, b"crash"

    api.reply = reply
    original = Answers.keep

    def keep(answers, identity, kept):
        original(answers, identity, kept)
        other_kept.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Answers, "keep", keep)
        outcome = ask("2+2?", "1+3?", concurrency=2)
    assert reasons(outcome) == {question_id("2+2?"): "no-reply"}
    api.reply = think
    assert len(ask("2+2?", "1+3?").rows) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion(""), "empty-thinking"),
        (completion(None), "empty-thinking"),
        (completion("Answer: 4"), "empty-thinking"),
        (completion("<think>hm</think>  "), "empty-answer"),
        (completion("<think>without an end"), "no-end"),
        (completion("<think>hm</think>Answ", finish="length"), "cut"),
        (completion("<think>hm</think>Answ", finish="content_filter"), "cut"),
        (completion("<think>hm</think>Answ", finish="of a kind to come"), "cut"),
    ],
)
def test_a_reply_without_a_trace_is_a_drop_and_is_kept(ask, api, reply, reason):
    api.reply = lambda question: reply if question == "2+2?" else think(question)
    for _ in range(2):
        outcome = ask("2+2?", "1+3?")
        assert reasons(outcome) == {question_id("2+2?"): reason}
        assert [row["question"] for row in outcome.rows] == ["1+3?"]
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((400, b"longer than this server's context"), "rejected"),
        ((200, b"<html>no API</html>"), "garbage"),
        ((200, b'{"choices": []}'), "garbage"),
        ((200, b'{"choices": [{"message": {"content": 3}}]}'), "garbage"),
        ((200, b"[1]"), "garbage"),
        ((200, b'{"choices": [{"message": {"content": "4", "reasoning_content": "half \\ud800"}}]}'), "garbage"),
        (completion("<think>hm</think>Answ", finish="insufficient_system_resource"), "no-reply"),
    ],
)
def test_a_question_that_no_model_has_replied_to_is_asked_again_by_the_next_run(ask, api, reply, reason):
    """A server that was started anew with a longer context, for example, accepts what it rejected."""
    api.reply = lambda question: reply if question == "2+2?" else think(question)
    assert reasons(ask("2+2?", "1+3?")) == {question_id("2+2?"): reason}
    api.reply = think
    assert len(ask("2+2?", "1+3?").rows) == 2
    assert len(api.requests) == 3


def test_a_redirect_is_named_and_not_followed(ask, api, monkeypatch):
    """It would take the key to another host."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    api.reply, api.more_headers = (lambda _: (301, b"moved")), {"Location": "https://other.example/v1"}
    with pytest.raises(BuildFailed, match="HTTP 301: moved; the API is at https://other.example/v1: name its base URL"):
        ask("2+2?")


def test_a_missing_key_is_named_where_one_is_wanted(ask, api, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    api.reply = lambda _: (401, b"no key")
    with pytest.raises(BuildFailed, match=r"HTTP 401: no key; \$MY_KEY holds no key"):
        ask("2+2?", key_env="MY_KEY")


@pytest.mark.parametrize(
    "reply",
    [
        completion("4", reasoning_content="hm"),
        completion("4", reasoning="hm"),
        completion("<think>hm</think>4"),
        completion("hm</think>4"),  # the template has opened the thought
    ],
)
def test_the_thought_is_found_wherever_an_api_puts_it(ask, api, reply):
    api.reply = lambda _: reply
    (row,) = ask("2+2?").rows
    assert (row["thinking"], row["attempt"]) == ("hm", "4")


def test_half_a_kept_reply_is_cut_off_and_a_broken_one_is_named(ask, api, tmp_path):
    ask(*QUESTIONS[:2])
    (path,) = (tmp_path / "answers").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert len(ask(*QUESTIONS[:2]).rows) == 2
    assert len(api.requests) == 3
    path.write_bytes(b"garbage\n" + path.read_bytes())
    with pytest.raises(BuildFailed, match=r"openai-\w+.jsonl:1: not a kept reply"):
        ask(*QUESTIONS[:2])


def test_reading_kept_replies_changes_nothing(tmp_path):
    """A dry run reads them while another run may write: half a line is cut off only where the next reply is written."""
    answers, teacher = Answers(folder=tmp_path), {"teacher": "t"}
    for name in ("a", "b"):
        answers.keep(teacher, Trace(id=name, thinking="so", attempt="4"))
    (path,) = tmp_path.iterdir()
    half = path.read_bytes()[:-5]
    path.write_bytes(half)
    assert list(answers.known(teacher)) == ["a"]
    assert path.read_bytes() == half
    answers.keep(teacher, Trace(id="c"))
    assert list(answers.known(teacher)) == ["a", "c"]


def test_columns_hold_the_traces_of_a_published_set():
    known = {"thinking_trajectories": ["First.", "Second."], "attempt": "4", "other": 1}
    given = [
        {**row, "columns": columns}
        for row, columns in zip(rows("a", "b", "c"), (known, {"attempt": "4"}, known | {"attempt": " "}), strict=True)
    ]
    outcome = trace.run(given, ColumnsSettings(teacher="columns", model="gemini"), random.Random(0))
    (row,) = outcome.rows
    assert (row["thinking"], row["attempt"], row["columns"]) == ("First.\nSecond.", "4", {"other": 1})
    assert row["teacher"] == {"name": "columns", "model": "gemini", "date": None}
    assert list(reasons(outcome).values()) == ["no-trace", "empty-answer"]
    assert outcome.dropped[0].detail == "column thinking_trajectories: missing, or no text"


def test_the_rule_thinks_about_puzzles_alone_and_in_any_order():
    puzzles = [{**row, "metadata": {"facts": {"word": row["question"], "letter": "r"}}} for row in rows("raspberry", "mirror", "rare")]
    outcome = trace.run([*puzzles, *rows("Why?")], RulesSettings(teacher="rules"), random.Random(3))
    assert [drop.reason for drop in outcome.dropped] == ["no-rule"]
    turned = trace.run(puzzles[::-1], RulesSettings(teacher="rules"), random.Random(3))
    assert turned.rows[::-1] == outcome.rows
    assert all(row["attempt"].startswith("Final Answer: ") for row in outcome.rows)


@pytest.mark.parametrize("facts", ["x", {"word": "r"}, {"start": 1, "operations": [2]}, {"a": "1", "operator": "?", "b": 2}])
def test_facts_of_no_puzzle_have_no_rule(facts):
    given = [row | {"metadata": {"facts": facts}} for row in rows("a")]
    outcome = trace.run(given, RulesSettings(teacher="rules"), random.Random(0))
    assert [(drop.reason, drop.detail) for drop in outcome.dropped] == [("no-rule", "metadata.facts: not those of a puzzle")]


def test_a_wanted_pause_is_never_shortened():
    """Retry-After: an API that is called earlier may refuse us for longer."""
    api = ChatApi(settings=ChatApiSettings(model="m", url="http://127.0.0.1/v1"))
    assert all(90 <= api._pause(1, "90") <= 135 for _ in range(100))


def test_our_own_server_is_a_teacher_with_a_budget(tmp_path):
    with FakeServer() as server:
        server.will_say(thinking="two and two", answer=" 4")
        settings = S1Settings(teacher="s1", url=server.url, concurrency=1, options={"max_thinking_tokens": 50, "num_ignore": 0})
        outcome = trace.run(rows("2+2?"), settings, random.Random(0), Answers(folder=tmp_path))
        (row,) = outcome.rows
        assert (row["thinking"], row["attempt"]) == ("two and two", "4")
        assert server.requests[-1].options["max_thinking_tokens"] == 50
        assert trace.run(rows("2+2?"), settings, random.Random(0), Answers(folder=tmp_path)) == outcome
        assert len(server.requests) == 1


def test_a_thought_that_the_budget_cuts_is_dropped(tmp_path):
    with FakeServer() as server:
        server.will_say(thinking="one two three four five six", answer=" 4")
        settings = S1Settings(teacher="s1", url=server.url, options={"max_thinking_tokens": 2})
        outcome = trace.run(rows("2+2?"), settings, random.Random(0), Answers(folder=tmp_path))
        assert list(reasons(outcome).values()) == ["no-end"]


def test_our_server_away_is_a_sentence(tmp_path):
    with FakeServer() as server:
        url = server.url
    with pytest.raises(BuildFailed, match="teacher s1: .*replies so far are kept"):
        trace.run(rows("2+2?"), S1Settings(teacher="s1", url=url, deadline_s=0.5), random.Random(0), Answers(folder=tmp_path))
    with pytest.raises(BuildFailed, match="teacher s1: .*max_thinking"):
        trace.run(rows("2+2?"), S1Settings(teacher="s1", url=url, options={"max_thinking": 5}), random.Random(0), Answers(folder=tmp_path))
