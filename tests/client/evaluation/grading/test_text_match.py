# SPDX-License-Identifier: Apache-2.0
"""Grading by text: an answer states the expected number or words."""

import math

import pytest

from s1_client.evaluation._intervals import wilson
from s1_client.evaluation.grading.stated_numbers import numbers_in
from s1_client.evaluation.grading.text_match import is_right


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" 391", 391),
        ("17 * 23 = 391.", "391"),
        (r"\boxed{391}", 391),
        ("It costs $1,234.50 now", 1234.5),
        ("1234.5", "1,234.50"),
        ("391.0", 391),
        ("x = -3", -3),
        ("x = \N{MINUS SIGN}3", "-3"),
        (".5", 0.5),
        ("2e3", 2000),
        ("half: 50%", 50),
        ("The capital is Paris.", "paris"),
        ("new\nYork", "New York"),
        ("(B)", "b"),
        ("no, it's C++!", "C++"),
        ("50% of them", "50%"),
        ("Änderung", "änderung"),
        ("Answer: 0.5. It is less than 1", 0.5),
        ("not London but Paris", "Paris"),
        ("London? Answer: Paris", "Paris"),
        ("The answer is 3/4", "3/4"),
    ],
)
def test_right(answer, expected):
    assert is_right(answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", 3),
        ("three", 3),
        ("391, or perhaps 392", 391),
        ("10-3", -3),
        ("33", 3),
        ("Parisian", "Paris"),
        ("Paris", "Pa"),
        ("150% of them", "50%"),
        ("", "Paris"),
        ("It is not Paris.", "Paris"),
        ("Paris? Answer: London", "Paris"),
        ("3/4", 4),
    ],
)
def test_wrong(answer, expected):
    assert not is_right(answer, expected)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1,2,3", [1, 2, 3]), ("1,234,567", [1234567]), ("12,345,6", [12345, 6]), ("1e99999999999", []), ("½", []), ("٣ .", [3])],
)
def test_numbers_in_a_text(text, numbers):
    assert numbers_in(text) == numbers


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(right, number, low, high):
    """The last case is Newcombe's example (1998, table I)."""
    assert all(math.isclose(*pair, abs_tol=5e-5) for pair in zip(wilson(right, number), (low, high), strict=True))
