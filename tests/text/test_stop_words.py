# SPDX-License-Identifier: Apache-2.0
"""Stop words are found across cuts and never shown."""

from itertools import product

import pytest

from budgetforce.text.stop_words import StopWordFilter


def filtered(words, pieces):
    stop = StopWordFilter(words)
    shown = [stop.feed(piece) for piece in pieces]
    return "".join(shown) + ("" if stop.found else stop.flush()), stop.found


@pytest.mark.parametrize(
    ("words", "text", "shown", "found"),
    [
        (["STOP"], "go STOP on", "go ", "STOP"),
        (["\n\n"], "a\nb\n\nc", "a\nb", "\n\n"),
        (["ab", "b"], "xab", "x", "ab"),
        (["END"], "no end EN", "no end EN", None),
        ([], "anything", "anything", None),
        (["aab"], "aaab", "a", "aab"),
    ],
)
def test_the_text_before_the_first_stop_word_is_shown(words, text, shown, found):
    """In one piece and character by character alike."""
    assert filtered(words, [text]) == (shown, found)
    assert filtered(words, list(text)) == (shown, found)


def test_every_short_text_under_every_short_word_is_filtered_the_same_however_it_is_cut():
    """All texts of 5 over {a, b}, all words of up to 3, cut into single characters."""
    words = ["".join(word) for length in (1, 2, 3) for word in product("ab", repeat=length)]
    for text in ("".join(letters) for letters in product("ab", repeat=5)):
        for word in words:
            start = text.find(word)
            expected = (text if start < 0 else text[:start], None if start < 0 else word)
            assert expected == filtered([word], list(text)) == filtered([word], [text])


def test_what_cannot_become_a_stop_word_is_not_held_back():
    """Text leaves at once unless its end begins a stop word."""
    stop = StopWordFilter(["STOP"])
    assert stop.feed("hello S") == "hello "
    assert stop.feed("ea") == "Sea"
