# SPDX-License-Identifier: Apache-2.0
"""Stop words are found across cuts and never shown."""

import random
from itertools import combinations, product

import pytest

from budgetforce.text.stop_words import StopWordFilter, StopWords


def filtered(words, pieces):
    stop = StopWordFilter(StopWords(words))
    shown = [stop.feed(piece) for piece in pieces]
    return "".join(shown) + ("" if stop.found else stop.flush()), stop.found


def by_looking(words, text):
    """The same result by searching each word after each character: of the words that end first, the longest."""
    for end in range(len(text) + 1):
        ending = [word for word in words if text[:end].endswith(word)]
        if ending:
            longest = max(ending, key=len)
            return text[: end - len(longest)], longest
    return text, None


@pytest.mark.parametrize(
    ("words", "text", "shown", "found"),
    [
        (["STOP"], "go STOP on", "go ", "STOP"),
        (["\n\n"], "a\nb\n\nc", "a\nb", "\n\n"),
        (["ab", "b"], "xab", "x", "ab"),
        (["abcd", "c"], "xabcd", "xab", "c"),
        (["END"], "no end EN", "no end EN", None),
        ([], "anything", "anything", None),
        (["aab"], "aaab", "a", "aab"),
        (["😀!"], "a😀😀!", "a😀", "😀!"),
    ],
)
def test_the_text_before_the_first_stop_word_is_shown(words, text, shown, found):
    """In one piece and character by character alike."""
    assert filtered(words, [text]) == (shown, found)
    assert filtered(words, list(text)) == (shown, found)


WORDS = ["".join(word) for length in (1, 2, 3) for word in product("ab", repeat=length)]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_short_text_under_every_few_short_words_is_filtered_as_by_plain_search_however_it_is_cut(number):
    """All texts of up to 6 over {a, b}, all sets of up to 3 words of up to 3."""
    texts = ["".join(letters) for length in range(7) for letters in product("ab", repeat=length)]
    for words in combinations(WORDS, number):
        compiled = StopWords(words)
        for text in texts if number < 3 else texts[-64:]:
            expected = by_looking(words, text)
            for pieces in ([text], list(text)):
                stop = StopWordFilter(compiled)
                shown = "".join(map(stop.feed, pieces))
                assert expected == (shown + ("" if stop.found else stop.flush()), stop.found), (words, text)


@pytest.mark.parametrize("seed", range(20))
def test_many_long_words_in_a_long_text_cut_anywhere_are_found_as_by_plain_search(seed):
    draw = random.Random(seed)
    words = ["".join(draw.choices("ab\n", k=draw.randrange(6, 16))) for _ in range(200)]
    text = "".join(draw.choices("ab\n", k=400))
    cuts = sorted(draw.sample(range(400), 50))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, 400], strict=True)]
    assert filtered(words, pieces) == filtered(words, [text]) == by_looking(words, text)


def test_a_text_under_a_thousand_words_takes_as_many_steps_as_under_one():
    """Steps and fallbacks of the automaton together: at most two per character."""
    num_lookups = 0

    class Counting(dict):
        def __contains__(self, key):
            nonlocal num_lookups
            num_lookups += 1
            return super().__contains__(key)

    words = StopWords(["a" * n + "b" for n in range(1, 60)] + [f"{n:04}" for n in range(1000)])
    words._next = Counting(words._next)
    assert filtered_by(words, "a" * 5000 + "c" * 5000) == ("a" * 5000 + "c" * 5000, None)
    assert num_lookups <= 2 * 10_000


def filtered_by(words, text):
    stop = StopWordFilter(words)
    return stop.feed(text) + stop.flush(), stop.found


def test_text_that_cannot_become_a_stop_word_is_not_held_back():
    """Text leaves at once unless its end begins a stop word."""
    stop = StopWordFilter(StopWords(["STOP"]))
    assert stop.feed("hello S") == "hello "
    assert stop.feed("ea") == "Sea"
