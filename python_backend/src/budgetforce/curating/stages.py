# SPDX-License-Identifier: Apache-2.0
"""Call each stage with what it needs besides its rows and settings."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from budgetforce.curating import collect, decontaminate, features, grade, render, select, trace
from budgetforce.curating.answers import Answers
from budgetforce.curating.recipe import Recipe
from budgetforce.curating.rows import Outcome, Row
from budgetforce.curating.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the stages of a run share.

    Attributes:
        rng: the stage's own generator of random numbers.
        answers: folder of the kept replies of teachers.
        limit: the most rows of each source; None = all.
    """

    recipe: Recipe
    rng: random.Random
    tokens: Tokens
    answers: Path
    limit: int | None = None


def run(name: str, rows: list[Row], context: Context) -> Outcome:
    """Return the outcome of a stage. Raises BuildFailed."""
    recipe, rng, tokens = context.recipe, context.rng, context.tokens
    answers = Answers(folder=context.answers)
    match name:
        case "collect":
            return collect.run(recipe.collect, rng, tokens, context.limit)
        case "trace":
            return trace.run(rows, recipe.trace, rng, answers)
        case "grade":
            return grade.run(rows, recipe.grade)
        case "features":
            return features.run(rows, recipe.features, tokens, answers)
        case "decontaminate":
            return decontaminate.run(rows, recipe.decontaminate, rng, decontaminate.load_tests(recipe.decontaminate))
        case "select":
            return select.run(rows, recipe.select, rng)
        case "render":
            return render.run(rows, recipe.render, rng, tokens)
    raise AssertionError(f"no stage {name}")
