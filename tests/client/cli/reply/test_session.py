# SPDX-License-Identifier: Apache-2.0
"""What a chat knows, and its commands."""

import json

import click
import pytest

from s1_client.cli.reply.question import read_messages
from s1_client.cli.reply.session import COMMANDS, Left, Session

TURN = [{"role": "user", "content": "why"}, {"role": "assistant", "content": "so"}]


@pytest.fixture
def session():
    return Session({}, None)


def test_a_turn_is_asked_behind_those_before_it(session):
    session.answered("why", "so")
    assert session.asking("and then") == [*TURN, {"role": "user", "content": "and then"}]


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_a_turn_with_an_empty_answer_is_not_kept(session, answer):
    """A server takes no message without text: every later turn would be refused."""
    assert not session.answered("why", answer)
    assert session.answered("why", "so")
    assert session.asking("and then") == [*TURN, {"role": "user", "content": "and then"}]


def test_white_space_around_a_command_does_not_matter(session):
    assert session.obey("/set\tnum_ignore   2 \r") == "num_ignore = 2"
    with pytest.raises(Left):
        session.obey("/quit \r")


def test_a_question_alone_changes_nothing(session):
    session.asking("why")
    assert session.asking("how") == [{"role": "user", "content": "how"}]


def test_the_system_message_comes_first_and_stays():
    session = Session({}, "be brief")
    session.answered("why", "so")
    session.obey("/clear")
    assert session.asking("how") == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how"}]


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
    assert session.obey(line) == f"{name} = {json.dumps(value)}"
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
        ("/nonsense", "no command /nonsense; /help lists them"),
        ("/save", "/save FILE"),
        ("/save /nowhere/x", "/nowhere/x: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(session, line, told):
    with pytest.raises(click.UsageError) as refused:
        session.obey(line)
    assert str(refused.value).startswith(told)
    assert session.options == {}


def test_options_are_shown_and_unset(session):
    assert session.obey("/options") == "no option is set: all are left to the server"
    session.obey("/set num_ignore 2")
    session.obey("/set preset s1")
    assert session.obey("/options") == 'num_ignore = 2\npreset = "s1"'
    session.obey("/unset num-ignore")
    assert session.options == {"preset": "s1"}


def test_a_saved_chat_can_be_asked_on(session, tmp_path):
    session.answered("why", "so 我")
    assert session.obey(f"/save {tmp_path}/a chat.json") == "2 messages saved"
    assert read_messages(str(tmp_path / "a chat.json")) == [TURN[0], {"role": "assistant", "content": "so 我"}]


def test_quit_leaves(session):
    with pytest.raises(Left):
        session.obey("/quit")


def test_help_names_every_command(session):
    assert [line.split()[0] for line in session.obey("/help").splitlines()] == list(COMMANDS)
