# SPDX-License-Identifier: Apache-2.0
"""Rows, histories and published sets that the tests of the data pipeline share."""

from __future__ import annotations

import random
from pathlib import Path

from budgetforce.curating import card, render
from budgetforce.curating.history import History, StageReport, count_drops
from budgetforce.curating.tokens import Tokens

AIME, GPQA, MATH = "qq8933/AIME_1983_2024", "Idavidrein/gpqa", "qfq/openaimath/Algebra"


def row(name, **fields):
    """A row with all that the stages want; ``fields`` override."""
    return {
        "id": name,
        "question": f"How many letters has the word {name}?",
        "solution": None,
        "expected": "3",
        "grading": "integer",
        "source": "words",
        "source_revision": "1",
        "source_id": name,
        "licence": "CC0-1.0",
        "metadata": {},
        "thinking": f"At a glance {len(name)}.\nWait, spell it.",
        "attempt": "Final Answer: 3",
        "teacher": {"name": "rules", "model": None, "date": "2026-01-01"},
        "is_correct": True,
        "domain": "letters",
        "weak_correct": {},
        "num_thinking_tokens": 12,
        "selected_by": "all",
    } | fields


def rows(number, **fields):
    return [row(f"row{index:04d}", **fields) for index in range(number)]


def shuffled(given, seed=1):
    return random.Random(seed).sample(given, len(given))


def history(stages, recipe=None):
    """The history of (name, rows in, outcome) of each stage."""
    reports = []
    for name, rows_in, outcome in stages:
        dropped, by_source = count_drops(outcome.dropped)
        reports.append(
            StageReport(
                name=name,
                digest=f"digest of {name}",
                rows_in=rows_in,
                rows_out=len(outcome.rows),
                dropped=dropped,
                dropped_by_source=by_source,
                found=outcome.found,
            )
        )
    return History(
        recipe=recipe or {},
        recipe_name="words",
        recipe_sha256="ab" * 32,
        tokenizer_sha256="",
        stages=tuple(reports),
        code=None,
        created="2026-01-01T00:00:00Z",
    )


def publish(folder: Path, tokens: Tokens, given, recipe=None, settings=None, before=()):
    """Render rows and write the published set; return what ``write_set`` found."""
    outcome = render.run(given, settings or render.RenderSettings(), random.Random(0), tokens)
    made = history([*before, ("render", len(given), outcome)], recipe)
    folder.mkdir(exist_ok=True)
    return card.write_set(folder, outcome.rows, card.CardSettings(), _with(made, tokens), tokens.folder)


def _with(made, tokens):
    return History(**{name: getattr(made, name) for name in made.__slots__} | {"tokenizer_sha256": tokens.sha256})
