# SPDX-License-Identifier: Apache-2.0
"""N-grams that a text shares with the questions of test sets. Knows neither rows nor files.

There are two ways to split a text into words:

    words     as the s1 authors (data/decontaminate_util.py @77272c6): lower case, split at white space. Punctuation and
              LaTeX stay, so "$k$" and "k" differ.
    letters   lower case, compatibility characters composed (NFKC), without punctuation, LaTeX's spacing and formatting
              commands. Letters, numbers and operators that stand alone are joined, so that a formula is one word however
              it is spaced: "$x^{2} + 1$" and "x^2+1" are both "x^2+1".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

_LETTERS = (
    *("quad", "qquad", "hspace", "vspace", "left", "right", "big", "bigl", "bigr", "bigg", "displaystyle", "textstyle"),
    *("text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mathit", "mathbb", "mathcal", "operatorname", "boxed"),
)
_FORMATTING = re.compile(rf"\\(?:{'|'.join(_LETTERS)})(?![a-z])|\\[,;:!> \\]")
_TIMES = re.compile(r"\\(?:cdot|times|ast)(?![a-z])|[×·]")
_FRACTION = re.compile(r"\\[dt]frac(?![a-z])")
_PARTS = re.compile(r"[^\W\d_]+|\d+|[-+*/=<>^]")


def split_words(text: str) -> list[str]:
    """Return the words of a text by the authors' rule."""
    return text.lower().split()


def split_letters(text: str) -> list[str]:
    """Return the words of a text without punctuation and LaTeX's spacing."""
    plain = unicodedata.normalize("NFKC", text).lower()
    plain = _FORMATTING.sub(" ", _TIMES.sub("*", _FRACTION.sub(r"\\frac", plain)))
    words: list[str] = []
    for is_formula, group in groupby(_PARTS.findall(plain), _is_part_of_formula):
        parts = list(group)
        words += _formula("".join(parts)) if is_formula else parts
    return words


def _is_part_of_formula(part: str) -> bool:
    return len(part) == 1 or part.isdigit()


def _formula(text: str) -> list[str]:
    """Return a formula as one word; a lone hyphen or dash between words is none."""
    return [text] if any(map(str.isalnum, text)) else []


NORMALISATIONS: Mapping[str, Callable[[str], list[str]]] = {"words": split_words, "letters": split_letters}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """The questions of a benchmark, by their ids.

    Attributes:
        origin: where they come from, for the report.
    """

    __test__ = False  # pytest: this is no class of tests

    name: str
    questions: Mapping[str, str]
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An n-gram that a text shares with a test question."""

    test_set: str
    test_id: str
    ngram: str


@dataclass(frozen=True, slots=True)
class NgramIndex:
    """All n-grams of the test sets under one normalisation.

    Attributes:
        normalisation: a name in ``NORMALISATIONS``.
        num_words: n.
        finds_short: whether a question of fewer than n words, which has no n-gram, is found in an equal text.
        places: the first question of each test set that has an n-gram.
    """

    normalisation: str
    num_words: int
    finds_short: bool = False
    places: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, tests: Iterable[TestSet]) -> None:
        """Add the n-grams of all questions."""
        for test in tests:
            for test_id, question in test.questions.items():
                for ngram in self._ngrams(question):
                    self.places.setdefault(ngram, {}).setdefault(test.name, test_id)

    def allow(self, texts: Iterable[str]) -> None:
        """Remove the n-grams of boilerplate, which many questions share."""
        for text in texts:
            for ngram in self._ngrams(text):
                self.places.pop(ngram, None)

    def find(self, text: str) -> list[Hit]:
        """Return each shared n-gram once for each test set, in the order of the text."""
        found = dict.fromkeys(ngram for ngram in self._ngrams(text) if ngram in self.places)
        return [Hit(test_set=name, test_id=test_id, ngram=ngram) for ngram in found for name, test_id in self.places[ngram].items()]

    def _ngrams(self, text: str) -> Iterator[str]:
        words, num_words = NORMALISATIONS[self.normalisation](text), self.num_words
        if words and self.finds_short and len(words) < num_words:
            yield f"^{' '.join(words)}$"  # no n-gram begins so: the text is short as a whole
        for start in range(len(words) - num_words + 1):
            yield " ".join(words[start : start + num_words])


def build_indexes(tests: Sequence[TestSet], normalisations: Iterable[str], num_words: int, *, finds_short: bool) -> list[NgramIndex]:
    """Return an index for each normalisation. Only "words" finds short questions: "letters" drops brackets, which matter there."""
    indexes = [NgramIndex(name, num_words, finds_short and name == "words") for name in normalisations]
    for index in indexes:
        index.add(tests)
    return indexes
