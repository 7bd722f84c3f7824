# SPDX-License-Identifier: Apache-2.0
"""``s1 ask`` without a terminal: thinking on stderr, the answer on stdout, and the exit code."""

import json
import re

import pytest
from click.testing import CliRunner

from s1_client import DeadlineExceeded, EngineFailed, Overloaded, ServerFailed, ServerNotReady
from s1_client.cli.app import s1
from s1_client.testing import FakeServer


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def ask(server):
    """Return a function that runs ``s1 ask`` with its arguments."""

    def run(*arguments, stdin=None):
        return CliRunner().invoke(s1, ["ask", *arguments, "--url", server.url, "--max-retries", "0"], input=stdin)

    return run


def test_thinking_goes_to_stderr_and_the_answer_to_stdout(server, ask):
    server.will_say(thinking=("it is 3", ", no, 4"), answer=" **4**")
    done = ask("why", "--num-ignore", "1")
    assert done.exit_code == 0
    assert done.stdout == " **4**\n"
    assert done.stderr.startswith("it is 3[Wait], no, 4\n\n")


def test_the_last_line_is_the_ledger_of_the_reply(server, ask):
    server.will_say(thinking="it is 3", answer=" 3")
    line = ask("why", "--max-thinking-tokens", "9", "--num-ignore", "1").stderr.splitlines()[-1]
    told = "thinking 7/9 tokens (natural end) · injected 2 (ends refused: 1) · answer 1 tokens (stop end) · first token "
    assert line.startswith(told)
    assert re.fullmatch(r"\d+ ms · \d+ tokens/s", line.removeprefix(told))


def test_given_options_reach_the_server_and_others_are_unset(server, ask):
    ask("why", "--max-thinking-tokens", "5", "--num-ignore", "2", "--ignore-str", "Hmm", "--ignore-str", "", "--temperature", "0.5")
    asked = server.requests[-1]
    assert asked.prompt == "why"
    assert {name: value for name, value in asked.options.items() if name != "timeout_ms"} == {
        "max_thinking_tokens": 5,
        "num_ignore": 2,
        "ignore_str": ["Hmm", ""],
        "temperature": 0.5,
    }


def test_a_question_from_a_pipe(server, ask):
    ask(stdin="why\n")
    assert server.requests[-1].prompt == "why"


def test_a_chat_and_a_question(server, ask, tmp_path):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]))
    ask("why", "-m", str(path))
    assert [message["content"] for message in server.requests[-1].prompt] == ["hi", "hello", "why"]


def test_no_question_is_a_wrong_command_line(ask):
    done = ask("why", "--file", "x")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "give either QUESTION or --file" in done.stderr


def test_thinking_can_be_hidden(server, ask):
    server.will_say(thinking="it is 3", answer="3")
    done = ask("why", "--hide-thinking")
    assert done.stdout == "3\n"
    assert "it is" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServerFailed("x"), 1),
        (ServerNotReady("x"), 4),
        (Overloaded("x"), 5),
        (DeadlineExceeded("x"), 6),
        (EngineFailed("x"), 7),
    ],
)
def test_an_error_is_a_line_and_an_exit_code(server, ask, error, code):
    server.will_say(thinking="it is 3", error=error, error_after=2)
    done = ask("why")
    assert done.exit_code == code
    assert done.stderr.splitlines() == ["it is", "s1: x" if code != 1 else "s1: INTERNAL: x"]


def test_a_refused_value_names_its_field(ask):
    done = ask("why", "--top-p", "7")
    assert done.exit_code == 2
    assert done.stderr == "s1: top_p: got 7.0, allowed: 0 < top_p <= 1\n"


def test_no_server_is_a_sentence():
    done = CliRunner().invoke(s1, ["ask", "why", "--url", "127.0.0.1:1", "--max-retries", "0"])
    assert done.exit_code == 3
    said, advice = done.stderr.splitlines()
    assert said.startswith("s1: no server at 127.0.0.1:1 (connection refused) [UNAVAILABLE: ")
    assert advice.startswith("    -> start a server (s1 serve, docker compose up), or give the address of a running server: --url")


# --- JSON -----------------------------------------------------------------------------------------


def test_events_are_lines_of_json(server, ask):
    server.will_say(thinking="so", answer="3")
    done = ask("why", "--json", "--num-ignore", "1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == [
        "thinking", "round_ended", "injected", "thinking", "round_ended", "answer_opened", "answer", "round_ended", "done",
    ]  # fmt: skip
    assert lines[-1]["result"]["usage"]["num_ignored"] == 1
    assert done.stderr == ""


def test_an_error_is_the_last_line_of_json(server, ask):
    server.will_say(thinking="it is 3", error=EngineFailed("out of blocks"), error_after=1)
    done = ask("why", "--json")
    first, last = map(json.loads, done.stdout.splitlines())
    assert first["event"] == "thinking"
    assert (last["event"], last["error"], last["message"], last["retryable"]) == ("error", "EngineFailed", "out of blocks", False)
    assert done.exit_code == 7


# --- several samples ------------------------------------------------------------------------------


def test_samples_stand_under_headers_in_their_order(server, ask):
    server.will_say(thinking="so", answer="3")
    done = ask("why", "--num-samples", "2", "--temperature", "1", "--num-ignore", "0")
    assert done.stdout == "# sample 1 of 2\n3\n# sample 2 of 2\n3\n"
    assert [line for line in done.stderr.splitlines() if line.startswith(("#", "so"))] == [
        "# sample 1 of 2", "so", "# sample 2 of 2", "so",
    ]  # fmt: skip


def test_samples_as_json_have_their_index(server, ask):
    server.will_say(thinking="so", answer="3")
    done = ask("why", "--num-samples", "2", "--temperature", "1", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["index"] for line in lines if line["event"] == "done"] == [0, 1]


def test_identical_samples_are_refused(ask):
    """No header is shown of samples that do not exist."""
    done = ask("why", "--num-samples", "2")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("s1: num_samples: ")
