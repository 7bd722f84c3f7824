# SPDX-License-Identifier: Apache-2.0
"""Replies in files, in pipes and on terminals, from scripted events."""

import io
import json
from dataclasses import replace

import pyte
import pytest
from rich.console import Console

from client.events import RESULT, round_with
from s1_client import AnswerDelta, AnswerOpened, Done, Injected, RoundEnded, ThinkingDelta
from s1_client.cli.reply import live as live
from s1_client.cli.reply.display import ReplyDisplay, SequentialDisplay
from s1_client.cli.reply.meter import Meter
from s1_client.cli.reply.plain import JsonLines, PlainAnswer, PlainThinking

THOUGHT = [
    ThinkingDelta(text="hm", ids=(1,)),
    RoundEnded(round=round_with(refused_for="num_ignore", injected_ids=[2])),
    Injected(phase="thinking", text="Wait", ids=(2,)),
    ThinkingDelta(text=", no", ids=(3,)),
    RoundEnded(round=round_with()),
]
ANSWER = [
    AnswerOpened(ids=(3,)),
    Injected(phase="answer", text="Final Answer:", ids=(4,)),
    AnswerDelta(text=" **3**", ids=(5,)),
    Done(result=RESULT),
]


class Tty(io.StringIO):
    def isatty(self):
        return True


class Screen:
    """A terminal that serves as stdout, stderr or both."""

    def __init__(self, columns=60, rows=20):
        self.file = Tty()
        self._size = columns, rows
        self.console = Console(
            file=self.file, width=columns, height=rows, force_terminal=True, color_system="standard", markup=False, emoji=False
        )

    def rows(self):
        """Return the rows of the terminal, preceded by those that have scrolled away."""
        screen = pyte.HistoryScreen(*self._size, history=100_000)
        pyte.Stream(screen).feed(self.file.getvalue().replace("\n", "\r\n"))
        gone = ["".join(row[column].data for column in range(self._size[0])) for row in screen.history.top]
        return [row.rstrip() for row in [*gone, *screen.display]]

    def text(self):
        return "\n".join(self.rows()).strip()


def plain(out, err, *, hide=False, header=""):
    return ReplyDisplay(PlainThinking(err, hidden=hide), PlainAnswer(out, header), Meter({}, 0.0))


def on_screen(screen, *, hide=False, **options):
    """Return a display whose stdout and stderr are the screen."""
    region = live.LiveRegion(screen.console, Meter(options, 0.0))
    answer = live.LiveAnswer(region, screen.console)
    return ReplyDisplay(live.LiveThinking(region, hidden=hide), answer, region.meter, live.REFRESH_S)


def show(display, events, *, refresh=False):
    for event in events:
        display.show_event(event, 0.01)
        if refresh:
            display.refresh()


# --- files and pipes ------------------------------------------------------------------------------


def test_thinking_goes_to_stderr_and_the_answer_to_stdout_as_they_are():
    out, err = io.StringIO(), io.StringIO()
    show(plain(out, err), THOUGHT + ANSWER)
    assert out.getvalue() == "Final Answer: **3**\n"
    thought, account = err.getvalue().split("\n\n\n")
    assert thought == "hm[Wait], no"
    assert account.startswith("thinking 3/80 tokens (natural end) · ")
    assert account.count("\n") == 1


def test_a_pipe_gets_every_character_and_a_terminal_no_control_characters():
    for file, text in ((io.StringIO(), "\x1b[31mred\x07\tx\n"), (Tty(), "[31mred\tx\n")):
        answer = PlainAnswer(file)
        answer.add_text("\x1b[31mred\x07\tx\n")
        assert file.getvalue() == text


def test_hidden_thinking_is_not_written():
    out, err = io.StringIO(), io.StringIO()
    show(plain(out, err, hide=True), THOUGHT + ANSWER)
    assert out.getvalue() == "Final Answer: **3**\n"
    assert err.getvalue().startswith("\nthinking 3/80")


def test_a_message_is_a_line_of_its_own():
    err = io.StringIO()
    display = plain(io.StringIO(), err)
    show(display, THOUGHT[:1])
    display.show_message("answering now")
    show(display, THOUGHT[3:4])
    display.close()
    assert err.getvalue() == "hm\ns1: answering now\n, no\n"


def test_a_reply_that_is_cut_off_ends_its_lines():
    out, err = io.StringIO(), io.StringIO()
    display = plain(out, err)
    show(display, THOUGHT + ANSWER[:2])
    display.close()
    assert out.getvalue() == "Final Answer:\n"


def test_thinking_and_answer_are_separated_without_answer_opened():
    """Not every preset has a marker."""
    out, err = io.StringIO(), io.StringIO()
    show(plain(out, err), [ThinkingDelta(text="hm", ids=()), AnswerDelta(text="3", ids=()), Done(result=RESULT)])
    assert out.getvalue() == "3\n"
    assert err.getvalue().startswith("hm\n\n")


def test_events_as_json_are_a_line_each():
    out, err = io.StringIO(), io.StringIO()
    show(JsonLines(out, err, hide_thinking=False), THOUGHT + ANSWER)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [event.kind for event in THOUGHT + ANSWER]
    assert lines[-1]["result"]["usage"]["num_thinking_tokens"] == 3
    assert err.getvalue() == ""


def test_hidden_thinking_has_no_lines_of_json():
    out = io.StringIO()
    show(JsonLines(out, io.StringIO(), hide_thinking=True), THOUGHT + ANSWER)
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == [
        "round_ended", "round_ended", "answer_opened", "injected", "answer", "done",
    ]  # fmt: skip


# --- terminals ------------------------------------------------------------------------------------


def test_on_a_terminal_thinking_scrolls_and_the_budget_is_the_last_row():
    screen = Screen()
    display = on_screen(screen, max_thinking_tokens=8, num_ignore=2)
    show(display, THOUGHT[:4], refresh=True)
    rows = [row for row in screen.rows() if row]
    assert rows[0] == "hm[Wait], no"
    assert "thinking 3/8 · refused 1/2" in rows[-1]
    display.close()
    assert screen.text() == "hm[Wait], no"


def test_injected_text_is_marked_and_thinking_is_dim():
    screen = Screen()
    show(on_screen(screen), THOUGHT + ANSWER, refresh=True)
    assert "\x1b[1;33m[Wait]" in screen.file.getvalue()
    assert "\x1b[2mhm" in screen.file.getvalue()


@pytest.mark.parametrize(
    ("ended_by", "told"),
    [
        ("terminator", "thinking ended by itself"),
        ("budget", "thinking cut: the budget is spent"),
        ("answer_now", "thinking cut: answer now"),
        ("deadline", "thinking cut: the deadline has passed"),
    ],
)
def test_the_end_of_thinking_shows_its_reason(ended_by, told):
    screen = Screen()
    show(on_screen(screen), [*THOUGHT[:4], RoundEnded(round=round_with(ended_by=ended_by)), *ANSWER])
    assert told in screen.text()


def test_an_end_that_is_refused_without_injected_text_is_marked_too():
    screen = Screen()
    show(on_screen(screen), [*THOUGHT[:1], RoundEnded(round=round_with(refused_for="num_ignore")), *THOUGHT[3:], *ANSWER])
    assert "hm[end refused], no" in screen.text()


def test_without_thinking_no_end_is_shown():
    screen = Screen()
    show(on_screen(screen), ANSWER)
    assert "thinking ended" not in screen.text()


def test_the_answer_is_shown_while_it_arrives_and_remains_exactly_once():
    screen = Screen()
    display = on_screen(screen)
    show(display, THOUGHT + ANSWER[:3], refresh=True)
    assert "Final Answer: 3" in screen.text()
    assert screen.text().endswith("thinking 3 · refused 1 · answer 1 · 0 tok/s")
    show(display, ANSWER[3:], refresh=True)
    assert screen.text().count("Final Answer: 3") == 1
    assert "answer 1 · 0 tok/s" not in screen.text()
    assert "thinking 3/80 tokens (natural end)" in screen.text()


def test_a_long_answer_shows_its_end_and_remains_whole():
    screen = Screen(rows=8)
    display = on_screen(screen)
    show(display, THOUGHT + ANSWER[:1])
    for number in range(40):
        display.show_event(AnswerDelta(text=f"paragraph {number}\n\n", ids=(1,)), 0.01)
        display.refresh()
        assert f"paragraph {number}" in screen.text()
    display.close()
    told = [row for row in screen.rows() if row.startswith("paragraph")]
    assert told == [f"paragraph {number}" for number in range(40)]


def test_an_answer_that_is_cut_off_remains():
    screen = Screen()
    display = on_screen(screen)
    show(display, THOUGHT + ANSWER[:3])
    display.close()
    assert screen.text().endswith("Final Answer: 3")


def test_a_message_interrupts_the_thinking_with_a_line_of_its_own():
    screen = Screen()
    display = on_screen(screen)
    show(display, THOUGHT[:1], refresh=True)
    display.show_message("answering now")
    show(display, [ThinkingDelta(text=" no", ids=(3,))], refresh=True)
    display.close()
    assert [row for row in screen.rows() if row] == ["hm", "s1: answering now", "no"]


def test_control_characters_of_a_server_message_are_removed():
    screen = Screen()
    on_screen(screen).show_message("\x1b]0;mine\x07[bold]refused")
    assert "s1: ]0;mine[bold]refused" in screen.text()
    assert "\x1b]" not in screen.file.getvalue()


def test_with_hidden_thinking_the_budget_is_still_shown():
    screen = Screen()
    display = on_screen(screen, hide=True)
    show(display, THOUGHT, refresh=True)
    assert "hm" not in screen.text()
    assert "thinking 3" in screen.text()
    show(display, ANSWER, refresh=True)
    assert screen.text().startswith("Final Answer: 3")


@pytest.mark.parametrize("columns", [12, 30, 80])
def test_long_thinking_is_complete_at_every_width(columns):
    """Words, markup, escapes and wide characters without a line break: nothing is lost or printed twice."""
    words = [word for number in range(300) for word in (f"w{number}", "[bold]x[/]", "我们算一下", "\x1b[31mred", "🇩🇪👍🏽")]
    screen = Screen(columns, 10)
    display = on_screen(screen, max_thinking_tokens=10_000)
    for word in words:
        display.show_event(ThinkingDelta(text=f"{word} ", ids=(1,)), 0.01)
        display.refresh()
    display.close()
    assert "".join("".join(screen.rows()).split()) == "".join(words).replace("\x1b", "")


def test_each_row_is_written_once_however_long_the_thinking_is():
    """The written bytes grow linearly with the length of the thinking."""

    def written(num_words):
        screen = Screen(80, 24)
        display = on_screen(screen)
        for _ in range(num_words):
            display.show_event(ThinkingDelta(text="word ", ids=(1,)), 0.01)
            display.refresh()
        return len(screen.file.getvalue())

    assert written(4000) < 4.2 * written(1000)


# --- samples --------------------------------------------------------------------------------------


def of_sample(index, events):
    return [replace(event, index=index) for event in events]


def test_samples_are_shown_one_after_the_other():
    """Their events may arrive in any order."""
    out, err = io.StringIO(), io.StringIO()
    display = SequentialDisplay(lambda index: plain(out, err, header=f"# sample {index + 1} of 3"), 3)
    first, second, third = (of_sample(index, THOUGHT + ANSWER) for index in range(3))
    show(display, [*third, *first[:3], *second[:4], *first[3:], *second[4:]])
    assert out.getvalue() == "".join(f"# sample {number} of 3\nFinal Answer: **3**\n" for number in (1, 2, 3))
    assert err.getvalue().count("hm[Wait], no") == 3
