# SPDX-License-Identifier: Apache-2.0
"""Write the thinking of puzzles by rule: a hasty first pass with a built-in flaw, then careful passes behind "Wait".

The flaw is systematic, because a model that answers greedily drops random slips but learns a systematic slip:

* letters: the first pass counts letters that stand twice in a row once; each later pass spells the word;
* chain: the first pass does an operation that stands twice in a row once; each later pass notices one more of them;
* sums: the first pass goes column by column, from the last digit, and forgets all carries; each later pass adds to each column the
  carry of the column before. Two digits stand for carry and digit: 7*9=63+3=66, and 3-8=15 for a borrowed ten.

How many passes there are is drawn: an easy problem often ends with the hasty pass, a hard problem is usually checked once.
Behind the second pass it is slightly more likely to end than to go on, so a greedy model ends there, yet has seen many passes.
The answer repeats the last result, right or wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from s1_client.evaluation.tasks.puzzles import apply

MAX_PASSES = 8
CHECKS_EASY, CHECKS_HARD, CHECKS_AGAIN = 0.42, 0.85, 0.42  # probability of a second pass; of each further pass
LONG_WORD, MANY_OPERATIONS, LARGE = 10, 4, 100  # a problem is hard from here on


def write_thinking(facts: Mapping[str, Any], draw: random.Random) -> tuple[str, int]:
    """Return the thinking on a puzzle, a line for each pass, and the result of its last pass. ``facts`` are the puzzle's."""
    write, is_hard = _of(facts)
    num_passes = _num_passes(draw, hard=is_hard)
    passes = [write(facts, number) for number in range(1, num_passes + 1)]
    lines = [text if number == 1 else f"Wait, {text}" for number, (text, _) in enumerate(passes, 1)]
    return "\n".join(lines), passes[-1][1]


def _of(facts: Mapping[str, Any]) -> tuple[Any, bool]:
    if "word" in facts:
        return _letters, len(facts["word"]) >= LONG_WORD
    if "start" in facts:
        return _chain, len(facts["operations"]) >= MANY_OPERATIONS
    return _sums, facts["a"] * (facts["b"] if facts["operator"] == "*" else 1) >= LARGE


def _num_passes(draw: random.Random, *, hard: bool) -> int:
    number = 1
    while number < MAX_PASSES and draw.random() < (CHECKS_AGAIN if number > 1 else CHECKS_HARD if hard else CHECKS_EASY):
        number += 1
    return number


def _letters(facts: Mapping[str, Any], number: int) -> tuple[str, int]:
    word, letter = facts["word"], facts["letter"]
    if number == 1:
        runs = sum(character == letter for character, _ in groupby(word))
        return f"Glance: {runs}.", runs
    count, spelt = 0, []
    for character in word:
        count += character == letter
        spelt.append(f"{character}{count}")
    return f"spell: {''.join(spelt)}. So {count}.", count


def _chain(facts: Mapping[str, Any], number: int) -> tuple[str, int]:
    noticed, digit = 0, facts["start"]
    text, previous = str(digit), ""
    for operation in facts["operations"]:
        if operation == previous:
            noticed += 1
            if noticed >= number:
                continue
        digit, previous = apply(operation, digit), operation
        text += f"{operation}={digit}"
    return f"{text}. So {digit}.", digit


def _sums(facts: Mapping[str, Any], number: int) -> tuple[str, int]:
    a, operator, b = facts["a"], facts["operator"], facts["b"]
    places = range(len(str(a)) if operator == "*" else max(len(str(a)), len(str(b))))
    columns, digits, carry = [], [], 0
    for place in places:
        x = a // 10**place % 10
        y = b if operator == "*" else b // 10**place % 10
        text, next_carry, digit = _column(x, operator, y, carry if number > 1 else 0)
        columns.append(text if number > 1 else f"{x}{operator}{y}={digit}")
        digits.append(digit)
        carry = next_carry
    lead = carry if number > 1 and operator != "-" else 0
    result = int("".join(map(str, [lead, *reversed(digits)])))
    return f"{' '.join(columns)}. So {result}.", result


def _column(x: int, operator: str, y: int, carried: int) -> tuple[str, int, int]:
    """Return the text, carry (or borrow) and digit of a column. The text takes two steps: a tiny model knows tables of two digits."""
    sign = "-" if operator == "-" else "+"
    value = {"+": x + y, "-": x - y, "*": x * y}[operator]
    total = value - carried if operator == "-" else value + carried
    carry, digit = abs(total // 10), total % 10
    return f"{x}{operator}{y}={abs(value // 10)}{value % 10}{sign}{carried}={carry}{digit}", carry, digit
