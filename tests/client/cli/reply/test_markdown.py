# SPDX-License-Identifier: Apache-2.0
"""A model's Markdown on a terminal: nothing is lost, no control sequence takes effect."""

import io
import re

import pytest
from rich.console import Console

from s1_client.cli.reply.markdown import LastRows, ModelMarkdown, last_part


def rendered(renderable, width=60):
    """Return the rendered text with escape sequences."""
    file = io.StringIO()
    Console(file=file, width=width, height=20, force_terminal=True, color_system="standard", markup=False, emoji=False).print(renderable)
    return file.getvalue()


def shown(renderable, width=60):
    """Return the rendered text without escape sequences."""
    return re.sub("\x1b\\[[0-9;]*m", "", rendered(renderable, width))


@pytest.mark.parametrize(
    "text",
    ["a <b> and <div>c</div>", "<div>\nblock\n</div>", "[bold]x[/bold]", ":smile:", "\\boxed{3}", "2 * 3 * 4", "a_1 < b_2", "[1]: 5"],
)
def test_other_syntax_is_shown_as_text(text):
    assert " ".join(shown(ModelMarkdown(text)).split()) == " ".join(text.split())


def test_line_breaks_stay():
    assert [row.rstrip() for row in shown(ModelMarkdown("one\ntwo")).splitlines()] == ["one", "two"]


def test_markdown_is_rendered():
    text = rendered(ModelMarkdown("**bold**\n\n- point\n\n| a | b |\n|---|---|\n| 1 | 2 |"))
    assert "\x1b[1mbold" in text
    assert "**" not in text and "|" not in text


def test_links_show_their_addresses():
    assert "click (http://other.example)" in shown(ModelMarkdown("[click](http://other.example)"))
    assert shown(ModelMarkdown("<http://a.example>")).strip() == "http://a.example"


@pytest.mark.parametrize(
    "text", ["\x1b]8;;x\x1b\\", "\x1b[2J", "&#27;[2J", "<http://a%1b%5b2J>", "[a](http://b%1b%5b2J)", "`\x1b[2J`", "```\n\x1b[2J\n```"]
)
def test_no_escape_comes_from_the_model(text):
    assert "\x1b" not in re.sub("\x1b\\[[0-9;]*m", "", rendered(ModelMarkdown(text)))


def test_the_last_rows():
    assert [row.rstrip() for row in shown(LastRows(ModelMarkdown("a\n\nb\n\nc"), 3)).splitlines()] == ["b", "", "c"]


def test_the_last_part_of_a_text_has_the_same_last_rows_as_the_whole():
    text = "\n\n".join(f"paragraph *{number}*" for number in range(500))
    part = last_part(text, 1000)
    assert len(part) < 1100
    assert shown(LastRows(ModelMarkdown(part), 20)) == shown(LastRows(ModelMarkdown(text), 20))


def test_the_last_part_of_code_is_code():
    text = "```\n" + "\n\n".join(f"x = **{number}**" for number in range(500))
    assert shown(LastRows(ModelMarkdown(last_part(text, 1000)), 10)) == shown(LastRows(ModelMarkdown(text), 10))


def test_the_last_part_of_a_text_without_line_breaks_does_not_move():
    text = "word " * 10_000
    part = last_part(text, 1000)
    assert 1000 <= len(part) < 2000
    assert last_part(f"{text}more", 1000) == f"{part}more"
