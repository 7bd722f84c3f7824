# SPDX-License-Identifier: Apache-2.0
"""The teacher by rule: a flaw in the hasty pass, careful passes behind "Wait", an end that repeats the last result."""

import random
import re
from itertools import islice

import pytest

from budgetforce.curating.rule_teacher import write_thinking
from s1_client.evaluation.tasks.puzzles import FAMILIES, puzzles

RASPBERRY = {"word": "raspberry", "letter": "r"}
CHAIN = {"start": 7, "operations": ["+5", "*3", "-4", "-4", "+2", "+2"]}
CARRY = {"a": 47, "operator": "+", "b": 38}


class Passes(random.Random):
    """Draws that make the teacher write a number of passes."""

    def __init__(self, number):
        super().__init__(0)
        self.left = number

    def random(self):
        self.left -= 1
        return 0.0 if self.left else 1.0


def thinking(facts, number):
    text, result = write_thinking(facts, Passes(number))
    return text.splitlines(), result


@pytest.mark.parametrize(
    ("facts", "lines", "results"),
    [
        (RASPBERRY, ["Glance: 2.", "Wait, spell: r1a1s1p1b1e1r2r3y3. So 3."], [2, 3]),
        ({"word": "tree", "letter": "x"}, ["Glance: 0.", "Wait, spell: t0r0e0e0. So 0."], [0, 0]),
        (
            CHAIN,
            ["7+5=2*3=6-4=2+2=4. So 4.", "Wait, 7+5=2*3=6-4=2-4=8+2=0. So 0.", "Wait, 7+5=2*3=6-4=2-4=8+2=0+2=2. So 2."],
            [4, 0, 2],
        ),
        (CARRY, ["7+8=5 4+3=7. So 75.", "Wait, 7+8=15+0=15 4+3=07+1=08. So 85."], [75, 85]),
        (
            {"a": 503, "operator": "-", "b": 78},
            ["3-8=5 0-7=3 5-0=5. So 535.", "Wait, 3-8=15-0=15 0-7=13-1=12 5-0=05-1=04. So 425."],
            [535, 425],
        ),
        ({"a": 74, "operator": "*", "b": 9}, ["4*9=6 7*9=3. So 36.", "Wait, 4*9=36+0=36 7*9=63+3=66. So 666."], [36, 666]),
        (
            {"a": 999, "operator": "+", "b": 1},
            ["9+1=0 9+0=9 9+0=9. So 990.", "Wait, 9+1=10+0=10 9+0=09+1=10 9+0=09+1=10. So 1000."],
            [990, 1000],
        ),
    ],
)
def test_the_first_pass_has_the_flaw_and_later_passes_mend_it(facts, lines, results):
    for number in range(1, len(lines) + 1):
        assert thinking(facts, number) == (lines[:number], results[number - 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fourth_pass_is_right_for_every_puzzle(family):
    for puzzle in islice(puzzles(family, 3, held_out=False), 500):
        lines, result = thinking(puzzle.facts, 4)
        assert result == puzzle.answer
        assert int(re.findall(r"\d+", lines[-1])[-1]) == result


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_pass_is_often_wrong(family):
    drawn = list(islice(puzzles(family, 3, held_out=False), 500))
    share = sum(thinking(puzzle.facts, 1)[1] == puzzle.answer for puzzle in drawn) / len(drawn)
    assert 0.2 < share < 0.55


@pytest.mark.parametrize(("facts", "first"), [(RASPBERRY, 0.42), ({**RASPBERRY, "word": "raspberrypie"}, 0.85)])
def test_hard_problems_are_checked_more_often_than_easy_problems(facts, first):
    numbers = [len(write_thinking(facts, random.Random(seed))[0].splitlines()) for seed in range(2000)]
    assert sum(number > 1 for number in numbers) / len(numbers) == pytest.approx(first, abs=0.04)
    again = [number for number in numbers if number > 1]
    assert sum(number > 2 for number in again) / len(again) == pytest.approx(0.42, abs=0.06)
    assert max(numbers) <= 8
