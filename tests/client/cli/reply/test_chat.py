# SPDX-License-Identifier: Apache-2.0
"""``s1 chat``: from a pipe, and on a terminal as the user sees it."""

import json

import pytest
from click.testing import CliRunner

from client.cli.terminal import Terminal
from s1_client import EngineFailed
from s1_client.cli.app import s1
from s1_client.testing import FakeServer

STORY = "word " * 2000


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking="hm", answer="fine")
        yield server


# --- from a pipe ----------------------------------------------------------------------------------


@pytest.fixture
def chat(server):
    """Return a function that runs ``s1 chat`` with lines on stdin."""

    def run(*lines, arguments=()):
        arguments = ["chat", *arguments, "--url", server.url, "--max-retries", "0"]
        return CliRunner().invoke(s1, arguments, input="".join(f"{line}\n" for line in lines))

    return run


def test_each_line_is_a_turn_and_earlier_thinking_is_not_sent_again(server, chat):
    server.will_say(thinking="so it is 3", answer="3")
    done = chat("how many", "", "are you sure")
    assert (done.exit_code, done.stdout) == (0, "3\nfine\n")
    assert "so it is 3" in done.stderr
    assert server.requests[0].prompt == [{"role": "user", "content": "how many"}]
    assert server.requests[1].prompt == [
        {"role": "user", "content": "how many"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "are you sure"},
    ]


def test_an_answer_is_kept_as_the_model_wrote_it(server, chat):
    """A model that sees an injected prefix in its earlier answers writes it once more by itself."""
    server.will_say(thinking="hm", answer=" 3")
    chat("one", "two", arguments=["--answer-prefix", "Final Answer:", "--answer-prefix-policy", "always"])
    assert server.requests[1].prompt[1]["content"] == "3"


def test_the_system_message_is_sent(server, chat):
    chat("how many", arguments=["--system", "be brief"])
    assert server.requests[0].prompt[0] == {"role": "system", "content": "be brief"}


def test_an_error_is_a_line_and_the_chat_goes_on_without_the_turn(server, chat):
    server.will_say(thinking=STORY, error=EngineFailed("out of blocks"), error_after=2)
    done = chat("how many", "are you sure")
    assert done.stderr.splitlines()[1:3] == ["word word", "s1: out of blocks"]
    assert done.stdout == "fine\n"
    assert server.requests[1].prompt == [{"role": "user", "content": "are you sure"}]


def test_options_apply_to_the_following_turns(server, chat):
    chat("one", "/set max_thinking_tokens 5", "two", "/unset max_thinking_tokens", "three", arguments=["--num-ignore", "0"])
    told = [{name: value for name, value in asked.options.items() if name != "timeout_ms"} for asked in server.requests]
    assert told == [{"num_ignore": 0}, {"num_ignore": 0, "max_thinking_tokens": 5}, {"num_ignore": 0}]


def test_a_value_that_the_server_refuses_is_a_line(chat):
    done = chat("/set top_p 7", "how many")
    assert done.stderr.splitlines()[1:] == ["top_p = 7.0", "s1: top_p: got 7.0, allowed: 0 < top_p <= 1"]


def test_commands_answer_on_stderr_and_a_leading_space_makes_a_question(server, chat):
    done = chat("/nonsense", " /etc is what", "/options")
    assert server.requests[0].prompt[-1]["content"] == "/etc is what"
    assert "s1: no command /nonsense" in done.stderr
    assert done.stdout == "fine\n"


def test_a_turn_with_an_empty_answer_shows_a_message_and_the_chat_goes_on(server, chat):
    server.will_say(thinking="hm", answer=" ")
    done = chat("say nothing", "how many", "are you sure")
    assert done.exit_code == 0
    assert "s1: the answer is empty; the turn is not added to the chat" in done.stderr
    assert [message["content"] for message in server.requests[-1].prompt] == ["how many", "fine", "are you sure"]


def test_an_empty_system_message_is_refused_at_the_start(server, chat):
    done = chat("how many", arguments=["--system", " "])
    assert done.exit_code == 2
    assert "--system: the text is empty" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_may_come_from_windows(server, end):
    typed = end.join(["\ufeffhow many", "/set num_ignore 1", "/quit", "never asked", ""])
    done = CliRunner().invoke(s1, ["chat", "--url", server.url], input=typed.encode())
    assert (done.exit_code, done.stdout) == (0, "fine\n")
    assert [asked.prompt[-1]["content"] for asked in server.requests] == ["how many"]


def test_a_line_that_is_not_utf8_is_refused_with_its_number(server):
    done = CliRunner().invoke(s1, ["chat", "--url", server.url], input=b"how many\nna\xefve\n")
    assert done.exit_code == 2
    assert "stdin:2: not UTF-8: byte 0xef at 3" in done.stderr


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["fine", "break", "fine"], 7),
        (["break", "/set top_p 7", "fine"], 2),
        (["/nonsense", "fine"], 2),
        (["fine", "/set num_ignore many"], 2),
        (["fine", "fine"], 0),
    ],
)
def test_the_exit_code_is_that_of_the_last_line_that_failed(server, chat, lines, code):
    server.says(to="break", thinking="hm", error=EngineFailed("broke"))
    assert chat(*lines).exit_code == code


def test_the_connection_is_shown_first(server, chat):
    first = chat("how many", arguments=["--preset", "qwen3"]).stderr.splitlines()[0]
    assert first == f"connected: {server.url} · model s1 · preset qwen3"
    assert chat().stderr == f"connected: {server.url} · model s1 · server's preset\n"


def test_without_a_server_it_ends_immediately():
    done = CliRunner().invoke(s1, ["chat", "--url", "127.0.0.1:1"], input="how many\n")
    assert (done.exit_code, done.stdout) == (3, "")
    said, advice = done.stderr.splitlines()
    assert said.startswith("s1: no server at 127.0.0.1:1 ") and "start a server" in advice


def test_without_the_model_it_ends_immediately(chat):
    done = chat("how many", arguments=["--model", "other"])
    assert (done.exit_code, done.stderr) == (4, "s1: model 'other' is not ready; s1 models lists the server's models\n")


def test_lines_after_quit_are_ignored(server, chat):
    assert chat("/quit", "how many").exit_code == 0
    assert server.requests == []


def test_thinking_can_be_hidden(server, chat):
    assert "hm" not in chat("how many", arguments=["--hide-thinking"]).stderr


def test_a_saved_chat_can_be_sent_with_ask(server, chat, tmp_path):
    path = str(tmp_path / "chat.json")
    chat("how many", f"/save {path}")
    CliRunner().invoke(s1, ["ask", "-m", path, "are you sure", "--url", server.url])
    assert [message["content"] for message in server.requests[-1].prompt] == ["how many", "fine", "are you sure"]


# --- on a terminal --------------------------------------------------------------------------------


@pytest.fixture
def terminal(server, tmp_path):
    """``s1 chat`` on a terminal; its history is in ``tmp_path``."""
    with Terminal("chat", "--url", server.url, env={"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        terminal.wait_for(">")
        yield terminal


def ready(terminal, num_turns):
    """Wait until ``number`` turns have ended and the prompt is back."""
    terminal.wait_for(lambda text: text.count("first token") == num_turns and terminal.last_row() == ">")


def test_turns_are_printed_below_each_other(server, terminal):
    server.will_say(thinking=("one", ", two"), answer="**3**")
    terminal.type("how many\n")
    ready(terminal, 1)
    terminal.type("and now\n")
    ready(terminal, 2)
    rows = [row for row in terminal.rows() if row]
    assert rows[0] == f"connected: {server.url} · model s1 · server's preset · /help · Ctrl-D quits"
    assert rows[1:3] == ["> how many", "one[Wait], two"]
    assert "3" in rows
    assert "> and now" in rows
    terminal.type("\x04")
    assert terminal.wait_for_end() == 0


def test_ctrl_c_once_makes_it_answer_now_and_the_turn_stays(server, terminal):
    server.will_say(thinking=STORY, answer="three", token_delay_s=0.01)
    terminal.type("how many\n")
    terminal.wait_for("word word")
    terminal.press_ctrl_c()
    ready(terminal, 1)
    assert "thinking cut: answer now" in terminal.text()
    terminal.type("and now\n")
    ready(terminal, 2)
    assert server.requests[1].prompt[1] == {"role": "assistant", "content": "three"}


def test_ctrl_c_twice_returns_to_the_prompt_without_the_turn(server, terminal):
    server.will_say(thinking=STORY, answer=STORY, token_delay_s=0.01)
    terminal.type("how many\n")
    terminal.wait_for("word word")
    terminal.press_ctrl_c()
    terminal.wait_for("answering now")
    terminal.press_ctrl_c()
    terminal.wait_for(lambda text: "s1: the request was cancelled" in text and terminal.last_row() == ">")
    terminal.type("and now\n")
    ready(terminal, 1)
    assert server.requests[1].prompt == [{"role": "user", "content": "and now"}]


def test_ctrl_c_at_the_prompt_clears_the_line(server, terminal):
    terminal.type("how ma")
    terminal.wait_for("> how ma")
    terminal.press_ctrl_c_until(lambda _: terminal.last_row() == ">")
    terminal.type("and now\n")
    ready(terminal, 1)
    assert [asked.prompt[-1]["content"] for asked in server.requests] == ["and now"]


def test_lines_can_be_edited_completed_and_recalled(server, terminal):
    terminal.type("hew\x1b[D\x7fo\n")  # left, backspace
    ready(terminal, 1)
    terminal.type("\x1b[A\n")  # up
    ready(terminal, 2)
    assert [asked.prompt[-1]["content"] for asked in server.requests] == ["how", "how"]
    terminal.type("/set num_ig\t4\n")
    terminal.wait_for("num_ignore = 4")


def test_lines_of_an_earlier_chat_are_remembered(server, terminal, tmp_path):
    terminal.type("how many\n")
    ready(terminal, 1)
    terminal.type("/quit\n")
    assert terminal.wait_for_end() == 0
    assert (tmp_path / "s1/chat_history").stat().st_mode & 0o077 == 0
    with Terminal("chat", "--url", server.url, env={"XDG_STATE_HOME": str(tmp_path)}) as later:
        later.wait_for(">")
        later.type("\x1b[A\x1b[A")
        later.wait_for("> how many")


def test_a_typed_line_that_is_not_utf8_shows_a_message_and_the_chat_goes_on(server, tmp_path):
    """Answers go to a file, so that no readline filters undecodable bytes."""
    with (tmp_path / "answers").open("w") as answers, Terminal("chat", "--url", server.url, stdout=answers) as terminal:
        terminal.wait_for(">")
        terminal.type(b"na\xefve\n")
        terminal.wait_for("s1: the line is not UTF-8")
        terminal.type("how many\n")
        terminal.wait_for("first token")
    assert [asked.prompt[-1]["content"] for asked in server.requests] == ["how many"]


def test_help_is_readable_in_a_narrow_terminal(server):
    with Terminal("chat", "--url", server.url, columns=40) as terminal:
        terminal.wait_for("Ctrl-D")
        terminal.type("/help\n")
        terminal.wait_for("end the chat, as Ctrl-D")
        assert "an option of `s1 ask` for the next turns" in " ".join(terminal.text().split())


def test_what_is_saved_is_json(terminal, tmp_path):
    terminal.type(f"/save {tmp_path}/chat.json\n")
    terminal.wait_for("0 messages saved")
    assert json.loads((tmp_path / "chat.json").read_text()) == []
