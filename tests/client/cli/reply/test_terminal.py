# SPDX-License-Identifier: Apache-2.0
"""The real ``s1`` on a terminal: the screen of the user, and the effect of Ctrl-C."""

import re
import subprocess

import pytest

from client.cli.terminal import Terminal
from s1_client import EngineFailed
from s1_client.testing import FakeServer

STORY = "word " * 2000
LONG_ENOUGH_S = 0.01  # a token, so that a story lasts much longer than it takes to press a key


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def ask(server):
    """Return a function that starts ``s1 ask`` on a terminal."""
    terminals = []

    def run(*arguments, **settings):
        terminals.append(Terminal("ask", "why", "--url", server.url, *arguments, **settings))
        return terminals[-1]

    yield run
    for terminal in terminals:
        terminal.__exit__(None, None, None)


# --- the screen -----------------------------------------------------------------------------------


def test_log_lines_stand_above_the_rows_that_are_redrawn(server):
    server.will_say(thinking=STORY, answer="Three.", token_delay_s=LONG_ENOUGH_S)
    with Terminal("-vv", "ask", "why", "--url", server.url) as terminal:
        terminal.wait_for(lambda _: re.search(r"thinking \d+ ", terminal.last_row()))
        terminal.press_ctrl_c()
        assert terminal.wait_for_end() == 0
        rows = [row for row in terminal.rows() if row]
    logged = [row for row in rows if row.startswith("s1: request")]
    assert any(row.endswith(": answer_now") for row in logged), rows
    assert rows.count("Final Answer:Three.") == 1, rows
    assert not [row for row in rows if "tok/s" in row], rows
    assert not [row for row in rows if "s1: " in row and not row.startswith("s1: ")], rows


def test_the_budget_is_counted_during_thinking(server, ask):
    server.will_say(thinking=("one two", STORY), token_delay_s=LONG_ENOUGH_S)
    terminal = ask("--max-thinking-tokens", "8000", "--num-ignore", "2")
    bar = r"thinking \d+/8,000 · refused 1/2 · \d+ tok/s · ETA \d+:\d\d"
    terminal.wait_for(lambda _: re.search(bar, terminal.last_row()))


def test_thinking_marks_answer_and_ledger_remain_on_the_screen(server, ask):
    server.will_say(thinking=("one two", ", three"), answer="There are **three**.")
    terminal = ask("--max-thinking-tokens", "80", "--num-ignore", "1")
    assert terminal.wait_for_end() == 0
    rows = [row for row in terminal.rows() if row]
    assert rows[0] == "one two[Wait], three"
    assert rows[1].startswith("thinking ended by itself ──")
    assert rows[2] == "There are three."
    assert rows[3].startswith("thinking 5/80 tokens (natural end) · injected 2 (ends refused: 1) ·")


def test_wait_is_marked_and_the_answer_is_markdown(server, ask):
    server.will_say(thinking=("one two", ", three"), answer="There are **three**.")
    terminal = ask("--num-ignore", "1")
    terminal.wait_for_end()
    assert (terminal.style("[Wait]").fg, terminal.style("[Wait]").bold) == ("brown", True)  # pyte's name for yellow
    assert terminal.style("three.").bold


def test_without_colour_the_marks_are_still_there(server, ask):
    server.will_say(thinking=("one two", ", three"), answer="`3`")
    terminal = ask("--num-ignore", "1", env={"NO_COLOR": "1"})
    terminal.wait_for_end()
    assert "one two[Wait], three" in terminal.text()
    assert not re.search(rb"\x1b\[[0-9;]*(3[0-7]|4[0-7]|9[0-7])[;m]", terminal.written)


def test_typed_keys_do_not_shift_the_drawing(server, ask):
    server.will_say(thinking=STORY, answer="three", token_delay_s=LONG_ENOUGH_S)
    terminal = ask()
    terminal.wait_for("word word")
    terminal.type("\n\nkeys\n")
    terminal.wait_for(lambda text: text.count("word") > 40)
    terminal.press_ctrl_c()
    assert terminal.wait_for_end() == 0
    thought = terminal.text().partition("s1: answering now")[0]
    assert set(thought.split()) == {"word"}


def test_thinking_that_is_cut_says_so(server, ask):
    server.will_say(thinking=STORY)
    terminal = ask("--max-thinking-tokens", "9")
    terminal.wait_for_end()
    assert "thinking cut: the budget is spent" in terminal.text()


def test_a_narrow_screen_drops_figures_that_do_not_fit(server, ask):
    server.will_say(thinking=STORY, token_delay_s=LONG_ENOUGH_S)
    terminal = ask("--max-thinking-tokens", "8000", "--num-ignore", "2", columns=36)
    row = "word word word word word word word"
    terminal.wait_for(lambda text: text.startswith(f"{row}\n{row}\n"))
    terminal.wait_for(lambda _: re.fullmatch(r"thinking \d+/8,000 · refused 0/2", terminal.last_row()))


def test_a_hundred_thousand_characters_pass_in_rows(server, ask):
    words = [f"w{number}" for number in range(16_000)]
    server.will_say(thinking=" ".join(words), answer="so.")
    terminal = ask("--num-ignore", "0")
    assert terminal.wait_for_end() == 0
    thought = terminal.text().partition("thinking ended")[0]
    assert thought.split() == words


def test_escapes_and_markup_of_a_model_are_text(server, ask):
    server.will_say(thinking="\x1b[2J\x1b]0;mine\x07[bold]x[/bold]", answer="\x1b[2J [red]y[/red]")
    terminal = ask("--num-ignore", "0")
    terminal.wait_for_end()
    assert "[2J]0;mine[bold]x[/bold]" in terminal.text()
    assert "[2J [red]y[/red]" in terminal.text()
    assert b"\x1b[2J" not in terminal.written and b"\x1b]" not in terminal.written


def test_an_error_is_a_line_below_the_text_so_far(server, ask):
    server.will_say(thinking=STORY, error=EngineFailed("out of blocks"), error_after=3)
    terminal = ask()
    assert terminal.wait_for_end() == 7
    assert [row for row in terminal.rows() if row] == ["word word word", "s1: out of blocks"]


# --- where only one of the two is a terminal ------------------------------------------------------


def test_a_piped_answer_is_raw_and_thinking_stays_on_the_terminal(server, ask):
    server.will_say(thinking="one two", answer="**3**")
    terminal = ask("--num-ignore", "0", stdout=subprocess.PIPE)
    answer, _ = terminal.process.communicate()
    assert answer == b"**3**\n"
    terminal.wait_for_end()
    rows = [row for row in terminal.rows() if row]
    assert rows[0] == "one two"
    assert rows[1].startswith("thinking ended by itself")
    assert rows[2].startswith("thinking 2/")


def test_piped_thinking_is_raw_and_the_answer_is_rendered(server, ask):
    server.will_say(thinking="one two", answer="**3**")
    terminal = ask("--num-ignore", "0", stderr=subprocess.PIPE)
    _, thinking = terminal.process.communicate()
    assert thinking.decode().startswith("one two\n\n")
    assert "\x1b" not in thinking.decode()
    terminal.wait_for_end()
    assert terminal.text() == "3"


def test_a_dumb_terminal_gets_text(server, ask):
    server.will_say(thinking=("one", "\x1b[2Jtwo"), answer="**3**")
    terminal = ask("--num-ignore", "1", env={"TERM": "dumb"})
    terminal.wait_for_end()
    assert b"\x1b" not in terminal.written
    assert terminal.rows()[:3] == ["one[Wait][2Jtwo", "", "**3**"]


def test_samples_are_printed_below_each_other(server, ask):
    server.will_say(thinking="so", answer="**3**")
    terminal = ask("--num-ignore", "0", "--num-samples", "2", "--temperature", "1")
    terminal.wait_for_end()
    told = [row for row in terminal.rows() if row.startswith(("#", "so", "3"))]
    assert told == ["# sample 1 of 2", "so", "3", "# sample 2 of 2", "so", "3"]


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_ctrl_c_once_makes_it_answer_now(server, ask):
    server.will_say(thinking=STORY, answer="three", token_delay_s=LONG_ENOUGH_S)
    terminal = ask()
    terminal.wait_for("word word")
    terminal.press_ctrl_c()
    assert terminal.wait_for_end() == 0
    text = terminal.text()
    assert "s1: answering now; press Ctrl-C again to cancel" in text
    assert "thinking cut: answer now" in text
    assert "Final Answer:three" in text
    assert "(answer_now end)" in text


def test_ctrl_c_twice_cancels(server, ask):
    server.will_say(thinking=STORY, answer=STORY, token_delay_s=LONG_ENOUGH_S)
    terminal = ask()
    terminal.wait_for("word word")
    terminal.press_ctrl_c()
    terminal.wait_for("answering now")
    terminal.press_ctrl_c()
    assert terminal.wait_for_end() == 130
    assert terminal.last_row() == "s1: the request was cancelled"
    assert server.requests[-1].end == "Cancelled"


def test_ctrl_c_during_the_answer_only_shows_a_message(server, ask):
    server.will_say(thinking="so", answer=STORY, token_delay_s=LONG_ENOUGH_S)
    terminal = ask("--num-ignore", "0")
    terminal.wait_for("word word")
    terminal.press_ctrl_c()
    terminal.wait_for("the model is already answering; press Ctrl-C again to cancel")
    terminal.press_ctrl_c()
    assert terminal.wait_for_end() == 130
    assert "word word" in terminal.text()  # what came of it stays


def test_the_cursor_is_restored_however_the_command_ends(server, ask):
    server.will_say(thinking=STORY, token_delay_s=LONG_ENOUGH_S)
    terminal = ask()
    terminal.wait_for("word word")
    terminal.process.terminate()
    assert terminal.wait_for_end() == 143
    assert terminal.written.rindex(b"\x1b[?25h") > terminal.written.rindex(b"\x1b[?25l")
