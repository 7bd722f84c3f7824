# SPDX-License-Identifier: Apache-2.0
"""Graders: what of an answer counts, by the kind of its question."""

import pytest

from s1_client.evaluation import GRADERS, VOTES


@pytest.mark.parametrize(
    ("answer", "reference", "is_right"),
    [
        ("The answer is 023.", 23, True),
        ("3 + 4 = 7", "007", True),
        ("7, or 8", 7, False),
        ("Final Answer: 7. I am sure: 100 %? Answer: 8", 8, True),
        (r"so \boxed{12}, out of 30", 12, True),
        (r"\boxed{1} no, \boxed{\frac{1}{2}3} of 9", 1, False),
        ("7.5", 7, False),
        ("1e3", 1000, True),
        ("none", 7, False),
    ],
)
def test_integers(answer, reference, is_right):
    assert GRADERS["integer"](answer, reference) is is_right


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("(B)", "B"),
        ("Answer: C", "C"),
        ("Answer: C, not D", "C"),
        (r"A is tempting. \boxed{D}", "D"),
        ("A train is late and I think B", "B"),
        ("A or B? It is A.", "A"),
        ("both", None),
    ],
)
def test_letters(answer, letter):
    assert VOTES["letter"](answer) == letter
    assert GRADERS["letter"](answer, "b") is (letter == "B")


def test_texts_vote_without_regard_to_case_and_white_space():
    assert VOTES["text"]("Answer:  New\n York") == VOTES["text"]("new york") == "new york"
    assert VOTES["text"]("  ") is None
