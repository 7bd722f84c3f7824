# SPDX-License-Identifier: Apache-2.0
"""Leave out rows that share an n-gram with a test question, and held-out puzzles; report them by source and test set.

The s1 authors' rule is ``as_published = true``: the question alone, one shared 8-gram of white-space words. By default the
solution is searched as well, also without punctuation and LaTeX's spacing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.contamination import NORMALISATIONS, Hit, NgramIndex, TestSet, build_indexes, split_words
from budgetforce.curating.held_out import is_held_out
from budgetforce.curating.rows import Drop, Outcome, Row
from budgetforce.curating.settings import check
from budgetforce.curating.sources import BadRow, FileSource, HubSource
from budgetforce.curating.sources import read as read_source

_MOST_FREQUENT = 20  # n-grams in the report: boilerplate shows there
Field = Literal["question", "solution", "thinking", "attempt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateSettings:
    """Which texts are compared with which test sets, and how.

    Attributes:
        test_sets: files or data sets of the hub, read like the sources of stage collect; their column ``id`` names a question.
        ngram: number of words of an n-gram.
        min_hits: distinct n-grams that a field must share with one test set.
        allow: boilerplate whose n-grams do not count.
        as_published: the authors' rule; the other fields but ``test_sets`` and ``allow`` keep their defaults.
    """

    test_sets: tuple[FileSource | HubSource, ...] = ()
    ngram: int = 8
    min_hits: int = 1
    fields: tuple[Field, ...] = ("question", "solution")
    normalisations: tuple[Literal["words", "letters"], ...] = ("words", "letters")
    allow: tuple[str, ...] = ()
    as_published: bool = False

    def __post_init__(self) -> None:
        check("ngram", self.ngram, self.ngram >= 1, "an integer >= 1")
        check("min_hits", self.min_hits, self.min_hits >= 1, "an integer >= 1")
        check("fields", self.fields, bool(self.fields), "at least one field")
        check("normalisations", self.normalisations, bool(self.normalisations), f"at least one of {', '.join(NORMALISATIONS)}")
        names = [test.label for test in self.test_sets]
        check("test_sets", names, len(set(names)) == len(names), "different names")
        for text in self.allow:
            check("allow", text, len(split_words(text)) >= self.ngram, f"texts of at least {self.ngram} words")
        if self.as_published:
            own = (self.ngram, self.min_hits, self.fields, self.normalisations)
            default = (8, 1, ("question", "solution"), ("words", "letters"))
            check("as_published", True, own == default, "false beside ngram, min_hits, fields or normalisations")

    @property
    def rule(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the fields and normalisations in use."""
        return (("question",), ("words",)) if self.as_published else (self.fields, self.normalisations)


def load_tests(settings: DecontaminateSettings) -> list[TestSet]:
    """Read the test sets. Raises BuildFailed naming the file and row that cannot be used."""
    return [_load_test(test) for test in settings.test_sets]


def _load_test(source: FileSource | HubSource) -> TestSet:
    questions: dict[str, str] = {}
    for number, raw in enumerate(read_source(source, random.Random(0)), 1):  # noqa: S311  # files draw nothing
        if isinstance(raw, BadRow):
            raise BuildFailed(f"test set {source.label}: {raw}")
        test_id = raw.source_id or f"row {number}"
        if test_id in questions:
            raise BuildFailed(f"test set {source.label}: {raw.where} has the id {test_id!r} of an earlier row")
        questions[test_id] = raw.question
    if not questions:
        raise BuildFailed(f"test set {source.label} has no question")
    origin = source.path.name if isinstance(source, FileSource) else f"{source.repo} at {source.revision[:12]}"
    return TestSet(name=source.label, questions=questions, origin=origin)


def run(
    rows: Sequence[Row],
    settings: DecontaminateSettings,
    rng: random.Random,  # noqa: ARG001  # every stage has one
    tests: Sequence[TestSet] = (),
) -> Outcome:
    """Return the rows that share nothing with ``tests`` and are not held out, sorted by id.

    ``found`` has a table of source and test set with one example, the most frequent n-grams, and the sizes of the sets.
    """
    search = _Search(settings, tests)
    kept: list[Row] = []
    dropped: list[Drop] = []
    for row in sorted(rows, key=itemgetter("id")):
        drop = search.reason_to_drop(row)
        if drop:
            dropped.append(drop)
        else:
            kept.append(row)
    return Outcome(rows=kept, dropped=dropped, found=search.report(rows))


class _Search:
    """Searches rows for shared n-grams, and counts the hits for the report."""

    def __init__(self, settings: DecontaminateSettings, tests: Sequence[TestSet]) -> None:
        self._settings, self._tests = settings, tests
        self._fields, names = settings.rule
        self._indexes = build_indexes(tests, names, settings.ngram, finds_short=not settings.as_published) if tests else []
        for index in self._indexes:
            index.allow(settings.allow)
        self._num_hits: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], dict[str, str]] = {}
        self._ngrams: Counter[str] = Counter()

    def reason_to_drop(self, row: Row) -> Drop | None:
        """Return why a row is left out; None if it is kept."""
        if is_held_out(row):
            return Drop(id=row["id"], source=row["source"], reason="held_out", detail=str(row["metadata"]["core"]))
        found = list(self._found_in(row))
        for test_set in dict.fromkeys(example["test_set"] for example in found):
            self._num_hits[row["source"], test_set] += 1
        for example in found:
            self._examples.setdefault((row["source"], example["test_set"]), example)
        self._ngrams.update({example["ngram"] for example in found})
        return Drop(id=row["id"], source=row["source"], reason="contaminated", detail=_sentence(found[0])) if found else None

    def _found_in(self, row: Row) -> Iterator[dict[str, str]]:
        """Yield the first hit of each field, normalisation and test set that has enough of them."""
        for name in self._fields:
            if not isinstance(text := row.get(name), str):
                continue
            for index in self._indexes:
                for hit in _enough(index.find(text), self._settings.min_hits):
                    yield _example(row, name, index, hit)

    def report(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the facts about what was compared and what was found."""
        sources = Counter(row["source"] for row in rows)
        short = sum(len(split_words(row["question"])) < self._settings.ngram for row in rows)
        return {
            "rule": {"ngram": self._settings.ngram, "min_hits": self._settings.min_hits}
            | dict(zip(("fields", "normalisations"), map(list, self._settings.rule), strict=True)),
            "test_sets": [{"name": test.name, "origin": test.origin, "num_questions": len(test.questions)} for test in self._tests],
            "num_short_questions": short,
            "table": [self._line(source, sources[source], test.name) for source in sorted(sources) for test in self._tests],
            "frequent_ngrams": [
                {"ngram": ngram, "num_rows": num} for ngram, num in sorted(self._ngrams.items(), key=_most_first)[:_MOST_FREQUENT]
            ],
        }

    def _line(self, source: str, num_rows: int, test_set: str) -> dict[str, Any]:
        key = (source, test_set)
        return {
            "source": source,
            "test_set": test_set,
            "num_rows": num_rows,
            "num_hits": self._num_hits[key],
            "example": self._examples.get(key),
        }


def _most_first(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def _enough(hits: Sequence[Hit], min_hits: int) -> list[Hit]:
    """Return the first hit of each test set that has at least ``min_hits``."""
    counts = Counter(hit.test_set for hit in hits)
    first = {hit.test_set: hit for hit in reversed(hits)}
    return [hit for name, hit in first.items() if counts[name] >= min_hits]


def _example(row: Row, field: str, index: NgramIndex, hit: Hit) -> dict[str, str]:
    place = {"test_set": hit.test_set, "test_id": hit.test_id, "ngram": hit.ngram}
    return {"row": row["id"], "field": field, "normalisation": index.normalisation, **place}


def _sentence(example: dict[str, str]) -> str:
    return f"{example['field']} shares {example['ngram']!r} with {example['test_set']} {example['test_id']} ({example['normalisation']})"
