# SPDX-License-Identifier: Apache-2.0
"""Source of generated questions: the puzzles of the client's evaluation, never those that it holds out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from budgetforce.curating.settings import check
from budgetforce.curating.sources.raw import Raw
from s1_client.evaluation.tasks.puzzles import FAMILIES, puzzles

MAX_QUESTIONS = 500_000  # there are some 1.3 million different sums, and the last of them would never be drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSource:
    """A family of puzzles.

    Attributes:
        seed: of the generator; None = drawn from the recipe's seed.
    """

    kind: Literal["generator"]
    name: str
    num_questions: int
    seed: int | None = None
    licence: str = "CC0-1.0"

    def __post_init__(self) -> None:
        check("name", self.name, self.name in FAMILIES, ", ".join(FAMILIES))
        check("num_questions", self.num_questions, 1 <= self.num_questions <= MAX_QUESTIONS, f"an integer from 1 to {MAX_QUESTIONS}")

    @property
    def label(self) -> str:
        """Name of the source in reports."""
        return f"puzzles/{self.name}"


def read_generator(source: GeneratorSource, rng: random.Random) -> Iterator[Raw]:
    """Yield the puzzles of a family as rows whose ``metadata.facts`` a teacher can use."""
    drawn = rng.getrandbits(32)  # drawn also if it is not used: a seed of one source changes no other source's draw
    seed = drawn if source.seed is None else source.seed
    found = puzzles(source.name, seed, held_out=False)
    for puzzle in islice(found, source.num_questions):
        yield Raw(
            where=f"{source.label}: {puzzle.core}",
            question=puzzle.question,
            expected=str(puzzle.answer),
            grading="integer",
            source=source.label,
            source_revision=f"seed {seed}",
            source_id=puzzle.core,
            licence=source.licence,
            metadata={"domain": source.name, "family": source.name, "core": puzzle.core, "facts": dict(puzzle.facts)},
        )
