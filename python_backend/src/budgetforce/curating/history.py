# SPDX-License-Identifier: Apache-2.0
"""The history of a training set: its recipe, and how many rows each stage took, kept and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from budgetforce.curating.rows import Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """The report of a finished stage, ``report.json`` in its folder.

    Attributes:
        digest: digest of everything that the stage's result depends on.
        rows_in: rows that came in; rows_in == rows_out + the sum of ``dropped``.
        dropped: number of rows left out, by reason.
        dropped_by_source: the same of each source.
        found: facts that the stage found.
    """

    name: str
    digest: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    dropped_by_source: dict[str, dict[str, int]]
    found: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that is known about how a training set was made.

    Attributes:
        recipe: the recipe's TOML as read.
        recipe_sha256: digest of ``recipe`` as JSON with sorted keys.
        tokenizer_sha256: digest of the tokenizer's files.
        stages: reports in the order of the stages: the funnel.
        code: git commit of the code; None if it is not known.
        created: date and time in UTC, ISO 8601.
    """

    recipe: dict[str, Any]
    recipe_name: str
    recipe_sha256: str
    tokenizer_sha256: str
    stages: tuple[StageReport, ...]
    code: str | None
    created: str


def count_drops(drops: Sequence[Drop]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Return the number of dropped rows by reason, and by source and reason, the most frequent reason first."""
    by_source: dict[str, Counter[str]] = {}
    for drop in drops:
        by_source.setdefault(drop.source, Counter())[drop.reason] += 1
    return _ordered(Counter(drop.reason for drop in drops)), {source: _ordered(by_source[source]) for source in sorted(by_source)}


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
