# SPDX-License-Identifier: Apache-2.0
"""The client's log, and the number of attempts on replies and errors."""

import logging

import pytest
from click.testing import CliRunner

from client.behaviour import CLIENTS, connecting
from s1_client import Cancelled, ConnectionFailed, DeadlineExceeded, Done, EngineFailed, InvalidRequest, Overloaded, Request, _exchange
from s1_client.cli.app import s1
from s1_client.evaluation.grading import graders
from s1_client.testing import FakeServer

PROMPT, SECRET = "the prompt itself", "open-sesame"
STORY = " one two three" * 200


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(answer=" four")
        yield server


@pytest.fixture(params=list(CLIENTS))
def connect(request, server):
    with connecting(request.param, server.url, secret=SECRET) as make:
        yield make


@pytest.fixture
def without_delay(monkeypatch):
    monkeypatch.setattr(_exchange, "retry_delay_s", lambda *_: 0.0)


@pytest.fixture
def lines(caplog):
    """The lines so far of a level, without those of others; none of them may hold the prompt or the secret."""
    caplog.set_level(logging.DEBUG, logger="s1_client")

    def of(level):
        texts = [(record.levelname, record.getMessage()) for record in caplog.records if record.name.startswith("s1_client")]
        assert not [text for _, text in texts if PROMPT in text or SECRET in text]
        return [text for name, text in texts if name == level]

    return of


def test_a_retry_leaves_a_line_with_its_reason_and_its_wait(connect, server, lines, without_delay):
    server.will_say(error=Overloaded("full", 7.5))
    connect().think(PROMPT, request_id="mine")
    assert lines("WARNING") == ["request 'mine': attempt 1 failed, retry in 0.0 s: Overloaded: full; retry after 7.5 s"]
    assert [line.partition(" to ")[0] for line in lines("DEBUG")[:2]] == ["request 'mine': attempt 1", "request 'mine': attempt 2"]
    assert "request 'mine': done, attempt 2" in lines("DEBUG")


def test_a_connection_leaves_a_line_at_its_first_response_and_when_it_is_lost_and_closed(connect, server, lines):
    client = connect(max_retries=0)
    client.think(PROMPT)
    client.think(PROMPT)
    assert lines("INFO") == [f"first response from {server.url}"]
    server.will_say(error=ConnectionFailed("gone"))
    with pytest.raises(ConnectionFailed):
        client.think(PROMPT)
    (lost,) = lines("WARNING")
    assert lost.startswith(f"connection to {server.url} lost: ConnectionFailed: ")
    client.close()
    assert f"connection to {server.url} closed by this client" in lines("DEBUG")


@pytest.mark.parametrize("command", ["answer_now", "cancel"])
def test_a_command_leaves_a_line(connect, server, lines, command):
    server.says(thinking=STORY, token_delay_s=0.005)
    stream = connect().stream(PROMPT, request_id="mine")
    next(stream)
    getattr(stream, command)()
    if command == "cancel":
        with pytest.raises(Cancelled):
            list(stream)
    else:
        list(stream)
    assert f"request 'mine': {command}" in lines("INFO")


def test_a_command_by_name_leaves_a_line(connect, server, lines):
    server.says(thinking=STORY, token_delay_s=0.005)
    client = connect()
    stream = client.stream(PROMPT, request_id="mine")
    next(stream)
    client.cancel("mine")
    with pytest.raises(Cancelled):
        list(stream)
    assert "request 'mine': cancel" in lines("INFO")


def test_a_stream_that_is_left_leaves_a_line(connect, server, lines):
    server.says(thinking=STORY, token_delay_s=0.005)
    with connect().stream(PROMPT, request_id="mine") as stream:
        next(stream)
    assert "request 'mine': left before its end" in lines("INFO")


def test_a_stream_whose_results_have_all_come_is_not_left_before_its_end(connect, server, lines):
    with connect().stream(PROMPT, request_id="mine") as stream:
        while not isinstance(next(stream), Done):
            pass
    assert "request 'mine': done, attempt 1" in lines("DEBUG")
    assert not [line for line in lines("INFO") if "mine" in line]


def test_a_cancel_that_only_leaves_a_stream_is_for_debugging(connect, server, lines):
    server.says(thinking=STORY, token_delay_s=0.005)
    with connect().stream(PROMPT, request_id="mine") as stream:
        next(stream)
    assert "request 'mine': cancel" in lines("DEBUG") and "request 'mine': cancel" not in lines("INFO")


REFUSED_BEFORE_SENDING = [{"timeout_ms": 5000, "deadline_s": 2}, {"deadline_s": -1}, {"max_retries": -1}, {"max_tokens": "many"}]


@pytest.mark.parametrize("options", REFUSED_BEFORE_SENDING, ids=lambda options: "-".join(options))
def test_a_value_that_is_refused_before_it_is_sent_names_the_request(connect, lines, options):
    with pytest.raises(InvalidRequest) as refused:
        connect().think(PROMPT, request_id="mine", **options)
    assert (refused.value.request_id, refused.value.num_attempts) == ("mine", 0)
    assert lines("INFO") == [f"request 'mine': failed, never sent: InvalidRequest: field {refused.value.field}"]


def test_a_closed_client_has_sent_nothing(connect, lines):
    client = connect()
    client.close()
    with pytest.raises(ConnectionFailed, match="has been closed") as closed:
        client.think(PROMPT, request_id="mine")
    assert closed.value.num_attempts == 0
    assert not [line for line in lines("DEBUG") if "attempt" in line]


def test_a_deadline_leaves_a_line(connect, server, lines):
    server.says(thinking=STORY, token_delay_s=0.02)
    with pytest.raises(DeadlineExceeded) as late:
        connect(deadline_s=0.5).think(PROMPT, request_id="mine")
    assert f"request 'mine': failed, attempt 1: DeadlineExceeded: {late.value}" in lines("INFO")


def test_a_refused_value_is_not_quoted(connect, lines):
    with pytest.raises(InvalidRequest):
        connect().think(PROMPT, request_id="mine", preset=PROMPT * 100)
    assert "request 'mine': failed, attempt 1: InvalidRequest: field preset" in lines("INFO")


def test_replies_and_errors_say_how_many_attempts_they_took(connect, server, without_delay):
    client = connect(max_retries=2)
    server.will_say(error=Overloaded("full"))
    reply = client.think(PROMPT)
    assert (reply.num_attempts, reply.to_dict()["num_attempts"]) == (2, 2)
    assert client.think(PROMPT).num_attempts == 1
    server.will_say(error=Overloaded("full"))
    assert [reply.num_attempts for reply in client.samples(PROMPT, num_samples=2, temperature=1.0)] == [2, 2]
    server.will_say(error=Overloaded("full"))
    server.will_say(error=EngineFailed("broken"))
    with pytest.raises(EngineFailed) as failed:
        client.think(PROMPT)
    assert (failed.value.num_attempts, failed.value.to_dict()["num_attempts"]) == (2, 2)
    with pytest.raises(InvalidRequest) as refused:
        client.think(PROMPT, max_tokens="many")
    assert refused.value.num_attempts == 0


def test_outcomes_of_a_map_say_it_too(connect, server, without_delay):
    server.will_say(error=Overloaded("full"))
    server.says(to="bad", error=EngineFailed("broken"))
    first, second = connect().map([Request(prompt=PROMPT), "bad"], concurrency=1)
    assert (first.reply.num_attempts, second.error.num_attempts) == (2, 1)


def test_the_library_is_silent_by_itself():
    assert [type(handler) for handler in logging.getLogger("s1_client").handlers] == [logging.NullHandler]


@pytest.mark.parametrize(("flag", "shows_attempts"), [("-v", False), ("-vv", True)])
def test_the_command_shows_the_log_on_stderr(server, flag, shows_attempts):
    server.will_say(error=Overloaded("full", 0.01))
    done = CliRunner().invoke(s1, [flag, "ask", PROMPT, "--url", server.url])
    assert done.exit_code == 0 and "s1: " not in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("s1: ")]
    assert any("attempt 1 failed, retry in 0.0 s: Overloaded: full" in line for line in lines)
    assert any("attempt 2 to" in line for line in lines) is shows_attempts
    quiet = CliRunner().invoke(s1, ["ask", PROMPT, "--url", server.url])
    assert "s1: " not in quiet.stderr


def test_a_bug_of_a_grader_reaches_stderr(server, tmp_path, monkeypatch):
    def fail(answer, reference):
        raise ZeroDivisionError("of a grader")

    monkeypatch.setattr(graders, "GRADERS", {**graders.GRADERS, "integer": fail})
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"prompt": "why", "expected": 4, "grading": "integer"}\n')
    command = ["sweep", "--file", str(questions), "--max-thinking-tokens", "3", "--out", str(tmp_path / "out"), "--url", server.url]
    done = CliRunner().invoke(s1, command)
    assert "s1: grading integer failed on an answer\n" in done.stderr and "ZeroDivisionError: of a grader" in done.stderr
    assert "s1: request" not in done.stderr


def test_an_option_of_the_whole_command_that_stands_behind_it_is_pointed_out():
    done = CliRunner().invoke(s1, ["ask", "-v", "why"])
    assert done.exit_code == 2 and "s1 -v ask" in done.stderr
