# SPDX-License-Identifier: Apache-2.0
"""What reaches stdout and stderr: every text, in every encoding, and nothing that a terminal would obey."""

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.table import Table
from rich.text import Text

from client.cli.running import write_lines
from client.cli.terminal import Terminal
from s1_client import EngineFailed
from s1_client.cli import app
from s1_client.cli.app import s1
from s1_client.cli.output import clean, echo
from s1_client.cli.tables import show
from s1_client.testing import FakeServer

NOT_ASCII = "π ≈ 3 – 我"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
OBEYED = ("\x1b[31m", "\x1b]0;title\x07", "\x9b31m", "\u202e", "\u2066", "\u200b", "\U000e0041")


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=NOT_ASCII, answer=NOT_ASCII)
        yield server


def test_lines_for_people_are_written_by_echo_which_cleans_them():
    """They may hold names of files and texts of others; click's own echo is left for what programs read."""
    sources = sorted(Path(app.__file__).parent.rglob("*.py"))
    calls = [call for path in sources for call in re.findall(r"click\.s?echo\(.*", path.read_text())]
    assert calls and [call for call in calls if not call.startswith(("click.echo(json.dumps(", "click.echo(clean("))] == []


# --- what a terminal would obey -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a\rb", "a\x08b", "\x7f\x00"])
def test_control_characters_are_taken_out(text):
    assert not any(char < " " or "\x7f" <= char < "\xa0" for char in clean(text))


def test_nothing_turns_the_direction_of_writing_or_hides():
    """All of Unicode: what is left of formatting characters has a glyph of its own, or joins letters."""
    left = {
        char
        for char in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and clean(char) == char
    }
    assert not left & set(BIDI)
    names = {unicodedata.name(char) for char in left - {"\t", "\n"}}
    assert {name.split()[0] for name in names} <= {"ZERO", "ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN"}
    assert {name for name in names if name.startswith("ZERO")} == {"ZERO WIDTH JOINER", "ZERO WIDTH NON-JOINER"}


def test_letters_of_every_script_stay():
    for text in ("[bold]\ta\n[/bold]", "می\u200cخواهم", "क्\u200dष", "👩\u200d💻", "❤\ufe0f", "שלום", "é", "e\u0301"):
        assert clean(text) == text


def test_separators_of_lines_are_line_ends():
    assert clean("a\u2028b\u2029c") == "a\nb\nc"


class _Screen(io.StringIO):
    def isatty(self):
        return True


def test_tables_and_messages_are_clean_on_a_terminal(monkeypatch):
    """And drawn all the same: the escapes that are left are ours."""
    monkeypatch.setattr("sys.stdout", screen := _Screen())
    monkeypatch.setenv("TERM", "xterm")
    table = Table("\u202ename")
    table.add_row(Text("".join(OBEYED), "red"))
    show(table)
    echo("".join(OBEYED))
    assert not any(one in screen.getvalue() for one in OBEYED if one != "\x1b[31m")
    assert "\x1b[31m[31m" in screen.getvalue()


def test_long_lines_are_broken_between_words_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr", screen := _Screen())
    monkeypatch.setenv("COLUMNS", "20")
    echo("one two three four five six\nseven", err=True)
    assert screen.getvalue() == "one two three four\n    five six\nseven\n"


def test_commands_are_read_in_a_terminal_of_40_columns(server):
    """Words, paths and addresses stay whole."""
    path = "/no/such/folder/of/questions.jsonl"
    for arguments, told in (
        (["doctor", "--url", server.url], "return_perf_metrics in its config"),
        (["ask", "why", "-m", path], f"{path}: No such file or directory"),
        (["models", "--url", "127.0.0.1:1"], "127.0.0.1:1"),
    ):
        with Terminal(*arguments, columns=40) as terminal:
            terminal.wait_for_end()
            assert told in " ".join(terminal.text().split())
    rows = CliRunner().invoke(s1, ["ask", "--help"], terminal_width=40).stdout.splitlines()
    assert "          thinking budget: hard cap in" in rows
    assert max(map(len, rows)) <= 40


def test_a_terminal_obeys_neither_a_model_nor_a_server(server):
    server.will_say(
        thinking="".join(OBEYED) + "thought " * 9,
        answer="".join(OBEYED) + "answered",
        error=EngineFailed("".join(OBEYED) + "broke"),
        error_after=4,
    )
    server.will_say(thinking="".join(OBEYED) + "thought", answer="".join(OBEYED) + "answered")
    for last in ("broke", "answered"):
        with Terminal("ask", "why", "--url", server.url, "--max-retries", "0") as terminal:
            terminal.wait_for(last)
            terminal.wait_for_end()
            written = terminal.written.decode()
        assert "thought" in written
        assert not any(one in written for one in OBEYED)


# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "why"],
        ["ask", "why", "--json"],
        ["ask", "why", "--num-samples", "2", "--temperature", "1"],
        ["chat"],
        ["sweep", "why", "--max-thinking-tokens", "5", "--num-ignore", "0", "--out", "sweep"],
        ["batch", "questions.jsonl", "replies.jsonl"],
        ["models"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_no_encoding_of_stdout_loses_what_was_paid_for(server, monkeypatch, tmp_path, encoding, arguments):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "questions.jsonl", "why")
    done = CliRunner(charset=encoding).invoke(s1, [*arguments, "--url", server.url], input="why\n")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_tables_of_files_are_shown_in_every_encoding(server, tmp_path, encoding):
    write_lines(tmp_path / "in.jsonl", "why")
    CliRunner().invoke(s1, ["batch", str(tmp_path / "in.jsonl"), str(tmp_path / "π.jsonl"), "--url", server.url])
    done = CliRunner(charset=encoding).invoke(s1, ["stats", str(tmp_path / "π.jsonl")])
    assert done.exit_code == 0
    assert "\\u03c0.jsonl" in done.stdout.replace("\n", "")


def test_what_an_encoding_does_not_hold_is_spelled(server):
    done = CliRunner(charset="ascii").invoke(s1, ["ask", "why", "--url", server.url, "--num-ignore", "0"])
    assert done.stdout == "\\u03c0 \\u2248 3 - \\u6211\n"
    assert " tokens (natural end) | injected 1 " in done.stderr


def test_the_locale_of_a_bare_container_is_enough(server):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "s1_client", "chat", "--url", server.url]
    done = subprocess.run(command, env=environment, input="π?\n".encode(), capture_output=True, check=True)
    assert done.stdout == b"\\u03c0 \\u2248 3 - \\u6211\n"
    assert server.requests[-1].prompt == [{"role": "user", "content": "π?"}]


def test_json_is_the_same_in_every_encoding(server):
    lines = [
        CliRunner(charset=encoding).invoke(s1, ["ask", "why", "--json", "--url", server.url]).stdout for encoding in ("ascii", "utf-8")
    ]
    texts = [[json.loads(line).get("text") for line in one.splitlines()] for one in lines]
    assert texts[0] == texts[1]


def test_lines_end_without_blanks_where_stdout_is_no_terminal(server):
    done = CliRunner().invoke(s1, ["models", "--url", server.url])
    assert done.stdout.splitlines() == [line.rstrip() for line in done.stdout.splitlines()]
    assert "budget forcing" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full, a device without room")
@pytest.mark.parametrize("arguments", [["models"], ["ask", "why", "--json"]], ids=lambda arguments: arguments[0])
def test_a_disk_without_room_is_a_sentence(server, arguments):
    command = [sys.executable, "-m", "s1_client", *arguments, "--url", server.url]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "s1: cannot write: No space left on device\n")


@pytest.mark.parametrize(("closed", "stdout", "stderr"), [("1>&-", "", "tokens (natural end)"), ("2>&-", NOT_ASCII, "")])
def test_a_stream_that_the_caller_has_closed_gets_nothing(server, closed, stdout, stderr):
    command = [sys.executable, "-m", "s1_client", "ask", "why", "--url", server.url]
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == stdout
    assert stderr in done.stderr
