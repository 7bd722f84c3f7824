# SPDX-License-Identifier: Apache-2.0
"""N-grams are those of the authors, and a second way of splitting sees through punctuation and LaTeX."""

import collections
import random

import pytest

from budgetforce.curating.contamination import NgramIndex, TestSet, build_indexes, split_letters

EQUAL = [
    ("Let $k$ be even.", "let k be even"),
    (r"Find $x^{2} \, + \; 1$", "find x^2+1"),
    (r"$2 \cdot 3 \times 4$", "2*3 * 4"),
    (r"$\dfrac{a}{b}$", r"$\frac {a} {b}$"),
    (r"$\left( a \right) \quad \text{and}$", "(a) and"),
    ("a well-known line — here", "a well known line, here"),
    ("full\u2010width \uff11\uff12", "full width 12"),
    ("ends here .", "ends here"),
]
DIFFERENT = [("1 + 7", "17"), ("a - b", "a b"), ("x = 3", "x > 3"), ("words here", "here words"), ("2024", "2025"), ("naive", "na ive")]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_letters_are_the_same_however_a_formula_is_spaced(one, other):
    assert split_letters(one) == split_letters(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_letters_differ_where_the_mathematics_or_the_words_do(one, other):
    assert split_letters(one) != split_letters(other)


def test_a_formula_is_one_word():
    """So eight words of prose are needed, as by the authors' rule, and not eight indices of a formula."""
    assert split_letters(r"Let $x_1 , x_2 , x_3$ be $ 10 $ reals") == ["let", "x1x2x3", "be", "10", "reals"]


def authors_rule(questions, tests, num_words):
    """data/decontaminate_util.py, rewritten: numbers of the questions that share an n-gram with a test question."""

    def lookup(documents):
        found = collections.defaultdict(set)
        for number, document in enumerate(documents):
            words = " ".join(document.lower().strip().split()).split()
            for ngram in [" ".join(words[start : start + num_words]) for start in range(len(words) - num_words + 1)]:
                found[ngram].add(number)
        return found

    ours = lookup(questions)
    return set().union(*(ours[ngram] for ngram in lookup(tests) if ngram in ours))


def test_words_are_the_authors_rule():
    """Over 300 small worlds of three words, with upper case, punctuation and white space of all kinds."""
    found = 0
    for seed in range(300):
        draw = random.Random(seed)
        texts = ["".join(draw.choice(["a", "B", "$c$", "a."]) + draw.choice([" ", "  ", "\n", " \t"]) for _ in range(6)) for _ in range(12)]
        tests = TestSet(name="t", questions=dict(enumerate(texts[:2])))
        [index] = build_indexes([tests], ["words"], 4, finds_short=False)
        flagged = {number for number, text in enumerate(texts[2:]) if index.find(text)}
        assert flagged == authors_rule(texts[2:], texts[:2], 4)
        found += len(flagged)
    assert 100 < found < 2500


def test_a_hit_names_each_test_set_and_its_first_question():
    index = NgramIndex("words", 2)
    index.add([TestSet(name="A", questions={"1": "x y", "2": "x y z"}), TestSet(name="B", questions={"9": "y z"})])
    assert [(hit.test_set, hit.test_id, hit.ngram) for hit in index.find("x y z x y")] == [
        ("A", "1", "x y"),
        ("A", "2", "y z"),
        ("B", "9", "y z"),
    ]
