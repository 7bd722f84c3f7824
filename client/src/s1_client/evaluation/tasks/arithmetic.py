# SPDX-License-Identifier: Apache-2.0
"""Generate the task ``arithmetic``: sums, products and word problems with integer answers.

    python -m s1_client.evaluation.tasks.arithmetic

writes ``arithmetic.jsonl`` beside this file. The questions are so easy that a model of 135M parameters answers some of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SEED = 20261123
NUM_OF_EACH = 8
FILE = Path(__file__).with_suffix(".jsonl")

_NAMES = ("Ada", "Ben", "Cleo", "Dario", "Edith", "Farid", "Greta", "Hugo")
_THINGS = ("apples", "pencils", "stamps", "marbles", "shells", "coins", "cards", "buttons")
PromptAndAnswer = tuple[str, int]


def _sum(draw: random.Random) -> PromptAndAnswer:
    a, b = draw.randint(2, 30), draw.randint(2, 30)
    return f"What is {a} + {b}?", a + b


def _difference(draw: random.Random) -> PromptAndAnswer:
    b = draw.randint(2, 20)
    a = b + draw.randint(1, 20)
    return f"What is {a} - {b}?", a - b


def _product(draw: random.Random) -> PromptAndAnswer:
    a, b = draw.randint(2, 12), draw.randint(2, 9)
    return f"What is {a} times {b}?", a * b


def _gift(draw: random.Random) -> PromptAndAnswer:
    name, thing = draw.choice(_NAMES), draw.choice(_THINGS)
    has, gets = draw.randint(2, 12), draw.randint(2, 12)
    return f"{name} has {has} {thing} and gets {gets} more. How many {thing} does {name} have now?", has + gets


def _boxes(draw: random.Random) -> PromptAndAnswer:
    thing = draw.choice(_THINGS)
    boxes, each = draw.randint(2, 6), draw.randint(2, 10)
    return f"There are {boxes} boxes with {each} {thing} in each. How many {thing} are there?", boxes * each


KINDS: tuple[Callable[[random.Random], PromptAndAnswer], ...] = (_sum, _difference, _product, _gift, _boxes)


def questions(seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Yield ``NUM_OF_EACH`` different questions of each kind, with id, prompt, expected and grading."""
    draw = random.Random(seed)  # noqa: S311  # reproducible, not a secret
    for kind in KINDS:
        answers: dict[str, int] = {}
        while len(answers) < NUM_OF_EACH:
            prompt, expected = kind(draw)
            answers[prompt] = expected
        for number, (prompt, expected) in enumerate(answers.items()):
            yield {"id": f"{kind.__name__[1:]}-{number}", "prompt": prompt, "expected": expected, "grading": "integer"}


def text() -> str:
    """Return the content of the task file."""
    return "".join(json.dumps(question) + "\n" for question in questions())


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
