# SPDX-License-Identifier: Apache-2.0
"""Breaking text into rows: rows fit, hold all words, and do not depend on the pieces of the text."""

import itertools

from rich.cells import cell_len

from s1_client.cli.reply.rows import Rows


def rows_of(text, width, step=None):
    """Return the rows of a text that arrives ``step`` characters at a time."""
    rows, taken = Rows(), []
    step = step or len(text) or 1
    for start in range(0, len(text), step):
        rows.append(text[start : start + step], "dim")
        taken += rows.pop_finished(width)
    return [row.plain for row in taken + rows.pop_all(width)]


def test_rows_break_between_words():
    assert rows_of("the quick brown fox jumps over", 10) == ["the quick", "brown fox", "jumps over"]


def test_a_word_that_no_row_holds_is_cut():
    assert rows_of("ab " + "z" * 15, 10) == ["ab", "z" * 10, "z" * 5]


def test_lines_and_indentation_stay():
    assert rows_of("one\n\n  two\n\tthree", 20) == ["one", "", "  two", "    three"]


def test_wide_characters_are_broken_between_but_not_before_a_full_stop():
    assert rows_of("Wait, 我们需要。", 11) == ["Wait, 我们", "需要。"]
    assert rows_of("我们。", 4) == ["我", "们。"]


def test_emoji_take_the_widest_width_that_a_terminal_may_use():
    assert rows_of("ok 🇩🇪 x", 7) == ["ok 🇩🇪", "x"]
    assert rows_of("ok 👍🏽 x", 7) == ["ok 👍🏽", "x"]


def test_rows_do_not_depend_on_the_pieces_of_the_text():
    """All short texts of these characters, at several steps and widths."""
    for text in map("".join, itertools.product("ab 我\n", repeat=5)):
        for width in (1, 2, 3, 5):
            rows = rows_of(text, width)
            assert rows == rows_of(text, width, 1) == rows_of(text, width, 2)
            assert all(cell_len(row) <= max(width, 2) for row in rows)
            assert "".join("".join(rows).split()) == "".join(text.split())


def test_finished_rows_are_returned_once_and_the_rest_is_the_tail():
    rows = Rows()
    rows.append("one two thr", "dim")
    assert [row.plain for row in rows.pop_finished(8)] == ["one two"]
    assert rows.pop_finished(8) == []
    assert rows.tail.plain == "thr"


def test_an_endless_line_does_not_accumulate():
    rows = Rows()
    for _ in range(1000):
        rows.append("word " * 20, "dim")
        rows.pop_finished(80)
        assert len(rows.tail) <= 80


def test_styles_stay_with_their_words():
    rows = Rows()
    rows.append("so it is ", "dim")
    rows.append("[Wait]", "bold yellow")
    rows.append(", no, no", "dim")
    first, second = rows.pop_all(16)
    assert [(span.style, first.plain[span.start : span.end]) for span in first.spans] == [
        ("dim", "so it is "),
        ("bold yellow", "[Wait]"),
        ("dim", ","),
    ]
    assert (second.plain, second.spans[0].style) == ("no, no", "dim")
