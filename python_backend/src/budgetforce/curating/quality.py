# SPDX-License-Identifier: Apache-2.0
"""The filters of s1's selection: rows with a missing feature, with strings that betray a broken question, and easy ones.

The rules are those of data/filter.ipynb in simplescaling/s1 @77272c6. Each filter returns why it leaves a row out, "" if it
keeps the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from budgetforce.curating.rows import Row

FEATURES = ("domain", "is_correct", "num_thinking_tokens")
_PAGE = re.compile(r"p[1-9]\d{0,2}\.")  # "p1." to "p999."
_BOLD_NUMBER = re.compile(r"\*\*(?=.*\d)[^\s\]]*\*\*")  # the authors': the digit may stand anywhere behind on the line
Filter = Callable[[Row], str]


def is_of(row: Row, sources: Sequence[str]) -> bool:
    """Return whether a row is of one of the sources, or of a part of one: "qfq/openaimath" has "qfq/openaimath/Algebra"."""
    return any(row["source"] == source or row["source"].startswith(f"{source}/") for source in sources)


def missing_feature(weak_models: Sequence[str]) -> Filter:
    """Return a filter for rows without domain, grade, trace length or a weak model's grade."""

    def missing(row: Row) -> str:
        verdicts = row.get("weak_correct") or {}
        found = [name for name in FEATURES if row.get(name) is None]
        return ", ".join(found + [f"weak_correct.{name}" for name in weak_models if verdicts.get(name) is None])

    return missing


def bad_string(aime_sources: Sequence[str]) -> Filter:
    """Return a filter for questions that refer to pictures or pages; one of AIME with ``[asy]`` is always kept, as the authors do."""

    def bad(row: Row) -> str:
        question = row["question"]
        if "[asy]" in question:
            return "" if is_of(row, aime_sources) else "[asy]"
        if "![Image]" in question:
            return "![Image]"
        found = _PAGE.search(question) or _BOLD_NUMBER.search(question)
        return found[0] if found else ""

    return bad


def solved_by_weak_model(weak_models: Sequence[str]) -> Filter:
    """Return a filter for questions that a weak model answers correctly."""

    def solved(row: Row) -> str:
        verdicts = row.get("weak_correct") or {}
        return ", ".join(name for name in weak_models if verdicts.get(name) is True)

    return solved
