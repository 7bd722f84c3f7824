# SPDX-License-Identifier: Apache-2.0
"""Reading the prompt from arguments, files and stdin."""

import io
import json

import click
import pytest

from s1_client.cli.reply.question import read_prompt

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that sets the text of stdin; None makes it a terminal."""

    def put(text):
        stream = io.TextIOWrapper(io.BytesIO(text if isinstance(text, bytes) else (text or "").encode()))
        stream.isatty = lambda: text is None
        monkeypatch.setattr("sys.stdin", stream)

    put(None)
    return put


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "file"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_an_argument_is_the_question(stdin):
    assert read_prompt("why", None, None) == "why"


@pytest.mark.parametrize(("question", "path"), [(None, None), ("-", None), (None, "-")])
def test_stdin_is_read_if_named_or_not_a_terminal(stdin, question, path):
    stdin("why\nnot\n")
    assert read_prompt(question, path, None) == "why\nnot"


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused_before_it_is_sent(stdin, file, question):
    with pytest.raises(click.UsageError, match="the question is empty"):
        read_prompt(question, None, None)
    with pytest.raises(click.UsageError, match="the question is empty"):
        read_prompt(None, file(question), None)


def test_an_argument_leaves_stdin_alone(stdin):
    stdin("something else")
    assert read_prompt("why", None, None) == "why"


def test_a_file_is_the_question(stdin, file):
    assert read_prompt(None, file("why 我\n"), None) == "why 我"


def test_line_breaks_of_another_system_do_not_change_the_question(stdin, file):
    """A byte order mark and the kind of line break are not part of it; U+2028 is."""
    assert read_prompt(None, file(b"\xef\xbb\xbfwhy\r\nnot\r\n"), None) == "why\nnot"
    assert read_prompt(None, file("a\N{LINE SEPARATOR}b\N{NEXT LINE}\n"), None) == "a\N{LINE SEPARATOR}b\N{NEXT LINE}"
    stdin(b"\xef\xbb\xbfwhy\r\n")
    assert read_prompt("-", None, None) == "why"
    assert read_prompt(None, None, file(b"\xef\xbb\xbf" + json.dumps(CHAT, indent=1).encode().replace(b"\n", b"\r\n"))) == CHAT


def test_a_text_that_is_not_utf_8_is_refused(stdin, file):
    with pytest.raises(click.UsageError, match="file: not UTF-8: byte 0xff at 3"):
        read_prompt(None, file(b"ab\xff"), None)
    stdin(b"\xff")
    with pytest.raises(click.UsageError, match="stdin: not UTF-8"):
        read_prompt("-", None, None)


def test_a_question_is_appended_to_the_messages(stdin, file):
    path = file(json.dumps(CHAT))
    assert read_prompt(None, None, path) == CHAT
    assert read_prompt("why", None, path) == [*CHAT, {"role": "user", "content": "why"}]


def test_messages_come_from_stdin_too(stdin):
    stdin(json.dumps(CHAT))
    assert read_prompt(None, None, "-") == CHAT


@pytest.mark.parametrize(
    ("question", "path", "messages", "told"),
    [
        (None, None, None, "no question"),
        ("why", "-", None, "give either QUESTION or --file"),
        ("-", "x", None, "give either QUESTION or --file"),
        ("-", None, "-", "only once"),
        (None, "/nowhere", None, "/nowhere: No such file or directory"),
        (None, "/", None, "/: Is a directory"),
    ],
)
def test_contradictory_arguments_are_refused(stdin, question, path, messages, told):
    with pytest.raises(click.UsageError, match=told):
        read_prompt(question, path, messages)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ('[{"role": "user", "content": "a", "content": "b"}]', "key 'content' is there twice"),
        ('[{"role": "user", "content": "\\ud800"}]', "half a character"),
        ('[{"role": "user", "content": NaN}]', "NaN is no number"),
        ("{}", "allowed"),
        ('["a"]', "allowed"),
        ('[{"role": "user"}]', "allowed"),
        ('[{"role": "user", "content": 1}]', "allowed"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_invalid_messages_are_refused(stdin, file, text, told):
    with pytest.raises(click.UsageError, match=told):
        read_prompt(None, None, file(text))
