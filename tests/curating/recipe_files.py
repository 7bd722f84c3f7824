# SPDX-License-Identifier: Apache-2.0
"""Recipes and files of questions for the tests of the data pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PUZZLES = """
name = "puzzles"
seed = 7
tokenizer = "s1-tiny"

[[collect.sources]]
kind = "generator"
name = "chain"
num_questions = 12

[trace]
teacher = "rules"

[select]
method = "full"

[render]
answer_prefix = ""
"""

FROM_FILE = """
name = "questions"
seed = 7
tokenizer = "s1-tiny"

[[collect.sources]]
kind = "file"
path = "questions.jsonl"
name = "questions"

[trace]
teacher = "columns"
thinking = "thinking"
attempt = "attempt"

[features]
domain = "tfidf"

[select]
method = "full"

[render]
answer_prefix = ""
"""


def write_recipe(folder: Path, text: str = PUZZLES) -> Path:
    """Write a recipe into a folder, and return its path."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """Write rows as JSON Lines; text is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def question(number: int, **more: Any) -> dict[str, Any]:
    """Return a row of a file of questions, with a trace in its columns."""
    row = {"question": f"What is {number} + {number}?", "expected": str(2 * number), "thinking": "Add.", "attempt": f"Answer: {2 * number}"}
    return row | more
