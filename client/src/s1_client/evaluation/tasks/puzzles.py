# SPDX-License-Identifier: Apache-2.0
"""Draw puzzles of three families, whose answers are integers: the problems that s1-tiny was trained on, and those kept from it.

* ``letters``: how often a letter occurs in a word, such as "How many r in raspberry";
* ``chain``: digits and operations from left to right, such as "Start at 7: +5 *3 -4 -4 +2. Result mod 10?";
* ``sums``: sums and differences of up to three digits, and products of up to two digits by one.

A hasty reader errs in the same way each time: letters that stand twice in a row count once, an operation that stands twice in
a row is done once, carries are forgotten. About half of the puzzles have such a place.

A tenth of all problems is held out of training: whether a problem is, a hash of its canonical text decides, whatever the wording.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HELD_OUT_SHARE = 10  # one problem in so many
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# How often each letter occurs in 1,000 letters of English.
_FREQUENCIES = (82, 15, 28, 43, 127, 22, 20, 61, 70, 2, 8, 40, 24, 67, 75, 19, 1, 60, 63, 91, 28, 10, 24, 2, 20, 1)
_OPERATIONS = (*(f"+{n}" for n in range(1, 10)), *(f"-{n}" for n in range(1, 10)), *(f"*{n}" for n in range(2, 10)))
_DOUBLED_OPERATIONS = (0, 1, 2, 3)
_DOUBLED_WEIGHTS = (32, 36, 21, 11)

_LETTERS_WORDINGS = (
    "How many {letter} in {word}",
    "How many {letter} in {word}?",
    "How many {letter}'s are in {word}?",
    "How many {letter} are there in {word}?",
    'How many {letter} are in "{word}"?',
    'How many times does {letter} occur in "{word}"?',
    "How often is {letter} in {word}?",
    "Count the {letter} in {word}.",
    'Count {letter} in "{word}".',
)
_CHAIN_WORDINGS = (
    "Start at {start}: {operations}. Result mod 10?",
    "Start at {start}: {operations} mod 10?",
    "Start at {start} mod 10: {operations}",
)
_SUMS_WORDINGS = ("What is {a} {operator} {b}?", "How much is {a} {operator} {b}?", "{a} {operator} {b} = ?", "{a} {operator} {b}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """A question with an integer as its answer.

    Attributes:
        core: the problem without its wording; equal problems have equal cores.
        facts: the problem's parts: ``word`` and ``letter``; ``start`` and ``operations``; or ``a``, ``operator`` and ``b``.
    """

    family: str
    core: str
    question: str
    answer: int
    facts: Mapping[str, Any]


def puzzles(family: str, seed: int, *, held_out: bool) -> Iterator[Puzzle]:
    """Yield different problems of a family without end, always the same for a seed: held out of training, or for it.

    Raises ValueError for an unknown family.
    """
    if family not in _FAMILIES:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(FAMILIES)}")
    draw = random.Random(f"{family}/{seed}/{held_out}")  # noqa: S311  # reproducible, not a secret
    cores: set[str] = set()
    while True:
        puzzle = _FAMILIES[family](draw)
        if puzzle.core not in cores and is_held_out(puzzle.core) == held_out:
            cores.add(puzzle.core)
            yield puzzle


def is_held_out(core: str) -> bool:
    """Return whether the problem with this core is kept from training."""
    return int.from_bytes(hashlib.sha256(core.encode()).digest()[:4]) % HELD_OUT_SHARE == 0


def _letters(draw: random.Random) -> Puzzle:
    letters = draw.choices(_LETTERS, _FREQUENCIES, k=draw.randint(3, 12))
    letter = draw.choice(letters) if draw.random() < 0.9 else draw.choice(_LETTERS)
    if draw.random() < 0.5:
        for _ in range(draw.randint(1, 2)):
            letters.insert(draw.randint(0, len(letters)), letter)
    if letter in letters and draw.random() < 0.35:
        letters.insert(draw.choice([place for place, other in enumerate(letters) if other == letter]), letter)
    word = "".join(letters)
    facts = {"word": word, "letter": letter}
    question = draw.choice(_LETTERS_WORDINGS).format(**facts)
    return Puzzle(family="letters", core=f"letters {letter} {word}", question=question, answer=word.count(letter), facts=facts)


def _chain(draw: random.Random) -> Puzzle:
    operations = [draw.choice(_OPERATIONS)]
    for _ in range(draw.randint(1, 4)):  # an operation stands twice in a row only where it is doubled below
        operations.append(draw.choice([operation for operation in _OPERATIONS if operation != operations[-1]]))
    (num_doubled,) = draw.choices(_DOUBLED_OPERATIONS, _DOUBLED_WEIGHTS)
    for place in sorted(draw.sample(range(len(operations)), min(num_doubled, len(operations))), reverse=True):
        operations.insert(place, operations[place])
    start = draw.randint(0, 9)
    facts = {"start": start, "operations": operations}
    listed = " ".join(operations)
    question = draw.choice(_CHAIN_WORDINGS).format(start=start, operations=listed)
    answer = start
    for operation in operations:
        answer = apply(operation, answer)
    return Puzzle(family="chain", core=f"chain {start} {listed}", question=question, answer=answer, facts=facts)


def apply(operation: str, digit: int) -> int:
    """Return the last digit after an operation, such as "-4", on a digit."""
    number = int(operation[1:])
    return {"+": digit + number, "-": digit - number, "*": digit * number}[operation[0]] % 10


def _sums(draw: random.Random) -> Puzzle:
    operator = draw.choice("++--*")
    if operator == "*":
        a, b = draw.randint(11, 99), draw.randint(2, 9)
    else:
        top = draw.choice((99, 999, 999, 999))
        a, b = draw.randint(10, top), draw.randint(10, top)
    if operator == "-":
        a, b = max(a, b), min(a, b)
    answer = {"+": a + b, "-": a - b, "*": a * b}[operator]
    facts = {"a": a, "operator": operator, "b": b}
    question = draw.choice(_SUMS_WORDINGS).format(**facts)
    return Puzzle(family="sums", core=f"sums {a} {operator} {b}", question=question, answer=answer, facts=facts)


_FAMILIES: dict[str, Callable[[random.Random], Puzzle]] = {"letters": _letters, "chain": _chain, "sums": _sums}
FAMILIES = tuple(_FAMILIES)
