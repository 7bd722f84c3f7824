# SPDX-License-Identifier: Apache-2.0
"""The state of a chat and its commands."""

import json

import click
import pytest

from s1_client.cli.reply.question import read_messages
from s1_client.cli.reply.session import COMMANDS, ChatEnded, Session

TURN = [{"role": "user", "content": "why"}, {"role": "assistant", "content": "so"}]


@pytest.fixture
def session():
    return Session({}, None)


def test_a_question_follows_the_earlier_turns(session):
    session.add_turn("why", "so")
    assert session.messages_with("and then") == [*TURN, {"role": "user", "content": "and then"}]


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_a_turn_with_an_empty_answer_is_not_kept(session, answer):
    """Servers refuse messages without text, so every later turn would fail."""
    assert not session.add_turn("why", answer)
    assert session.add_turn("why", "so")
    assert session.messages_with("and then") == [*TURN, {"role": "user", "content": "and then"}]


def test_white_space_around_a_command_does_not_matter(session):
    assert session.run_command("/set\tnum_ignore   2 \r") == "num_ignore = 2"
    with pytest.raises(ChatEnded):
        session.run_command("/quit \r")


def test_a_question_without_an_answer_changes_nothing(session):
    session.messages_with("why")
    assert session.messages_with("how") == [{"role": "user", "content": "how"}]


def test_the_system_message_comes_first_and_stays():
    session = Session({}, "be brief")
    session.add_turn("why", "so")
    session.run_command("/clear")
    assert session.messages_with("how") == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how"}]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("/set num_ignore 2", "num_ignore", 2),
        ("/set max-thinking-tokens  500 ", "max_thinking_tokens", 500),
        ("/set --temperature 0.5", "temperature", 0.5),
        ("/set thinking off", "thinking", "off"),
        ("/set answer_prefix In short, it is", "answer_prefix", "In short, it is"),
        ('/set answer_prefix " So:"', "answer_prefix", " So:"),
        ("/set ignore_str Wait 'But no'", "ignore_str", ["Wait", "But no"]),
        ('/set ignore_str ""', "ignore_str", [""]),
    ],
)
def test_options_are_set(session, line, name, value):
    assert session.run_command(line) == f"{name} = {json.dumps(value)}"
    assert session.options == {name: value}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/set num_ignore two", "num_ignore: got 'two', allowed: an integer"),
        ("/set top_p", "top_p: got '', allowed: a number"),
        ("/set preset don't", "preset: got 'don't', allowed: a text, in quotes that are closed"),
        ("/set nonsense 1", "no option 'nonsense'; `s1 chat --help` lists them"),
        ("/set num_samples 2", "no option 'num_samples'"),
        ("/unset nonsense", "no option 'nonsense'"),
        ("/nonsense", "no command /nonsense; /help lists the commands"),
        ("/save", "/save FILE"),
        ("/save /nowhere/x", "/nowhere/x: No such file or directory"),
    ],
)
def test_an_invalid_command_is_refused_and_changes_nothing(session, line, told):
    with pytest.raises(click.UsageError) as refused:
        session.run_command(line)
    assert str(refused.value).startswith(told)
    assert session.options == {}


def test_options_are_shown_and_unset(session):
    assert session.run_command("/options") == "no option is set: the server's defaults apply"
    session.run_command("/set num_ignore 2")
    session.run_command("/set preset s1")
    assert session.run_command("/options") == 'num_ignore = 2\npreset = "s1"'
    session.run_command("/unset num-ignore")
    assert session.options == {"preset": "s1"}


def test_a_saved_chat_can_be_continued(session, tmp_path):
    session.add_turn("why", "so 我")
    assert session.run_command(f"/save {tmp_path}/a chat.json") == "2 messages saved"
    assert read_messages(str(tmp_path / "a chat.json")) == [TURN[0], {"role": "assistant", "content": "so 我"}]


def test_quit_ends_the_chat(session):
    with pytest.raises(ChatEnded):
        session.run_command("/quit")


def test_help_names_every_command(session):
    assert [line.split()[0] for line in session.run_command("/help").splitlines()] == list(COMMANDS)
