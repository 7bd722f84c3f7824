# SPDX-License-Identifier: Apache-2.0
r"""Read the number that an answer states. Pure.

Only a number that is written out counts: 8,000, ``8{,}000``, -3, 1e3, ``1.5 \times 10^3``, 204.0, 50%, 12 cm. An expression
to be calculated (``\frac{8}{2}``, 2^10, 30 + 5) is a *formula*: neither it nor the last number in it counts; grading
"math" is for formulas.

By kind of statement (``statements``):

    boxed     a single number, after the last "=" if there is any; a list of different numbers states none
    marked    the number at the beginning, or the end of a chain of equations there; the rest is commentary. If it begins
              with words: the number after "the answer is" in it; else the result of its last sentence with a result
              ("= 55", "is 55"); else the only number of its first line; else the last number
    whole     the last number
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, takewhile

from s1_client.evaluation.grading.number_scan import FILLERS, NUMBER, Found, cleaned, decimal_of, scanned
from s1_client.evaluation.grading.statements import plain, statements, weakly_marked

_LITERAL = re.compile(rf"[+-]?{NUMBER}")
_SENTENCE = re.compile(r"(?<=[.?。])(?:\s+|$)|(?<=!)(?:\s+(?![=*/+^-])|$)|\n+")  # "5! = 120" is one sentence
_REASON = re.compile(r"\b(?:because|since|as|for|given|where|which|(?<!so )when|but|though|although|while|due|with|out of|from)\b", re.I)
_ITEM_END = re.compile(r"[,;&](?!\d{3})|\b(?:and|or)\b|\s-\s+(?=[^\W\d_]{2})")
_MORE_THAN_A_NAME = re.compile(r"[-+*/^ƒ(\d]|[a-z]{2}")  # before "=": "x + y" or "so the answer", but not "x" or "AB"
_WORDS = re.compile(r"[^\W\d_ƒ]{2,}")
_SO = re.compile(r"\s*(?:so|thus|therefore|hence|in total|altogether)\b", re.I)
_MAY_HOLD = re.compile(r"[\d\\^½¼¾⅓⅔√πΠ]")  # a text with a number or a formula
_HEAD_WORDS = re.compile(r"[^\W\d_]+")


def number_of(answer: str) -> Decimal | None:
    """Return the number that an answer states, or None."""
    for statement in statements(answer):
        value = _READERS[statement.kind](statement.text)
        if value is not None or statement.is_final:
            return value
    return None


def numbers_in(text: str) -> list[Decimal]:
    """Return all numbers that are written out in a text, in order."""
    return [number.value for number in scanned(cleaned(plain(text))) if number.value is not None]


def literal(text: str) -> Decimal | None:
    """Return the value of a text that consists of a number alone, or None."""
    bare = plain(text).strip()
    return decimal_of(bare) if _LITERAL.fullmatch(bare) else None


# --- by kind of statement -------------------------------------------------------------------------


def _boxed(text: str) -> Decimal | None:
    found = scanned(cleaned(text, is_math=True), is_math=True)
    values = {_chain(list(group)) for _, group in groupby(found, key=lambda number: number.item)}
    return values.pop() if len(values) == 1 else None


def _chain(found: Sequence[Found]) -> Decimal | None:
    """Return the result of a chain like "11 * 5 = 55"; None for two numbers without a relation."""
    results = [number for number in found if number.is_result and number.value is not None]
    if results:
        return results[-1].value
    values = [number for number in found if number.value is not None]
    return values[0].value if len(values) == 1 and found[0] is values[0] else None


def _marked(text: str) -> Decimal | None:
    sentences = [part for part in _SENTENCE.split(text) if part]
    first = _read(sentences[0]) if sentences else None
    if first and first.is_direct and (value := _direct(first, map(_read, sentences[1:]))) is not None:
        return value
    with_numbers = [read for part in sentences if _MAY_HOLD.search(part) and (read := _read(part)).found]
    later = (value for tail in weakly_marked(text) if (value := _marked(tail)) is not None)
    if (value := next(later, None)) is not None or not with_numbers or (first and first.is_direct):
        return value
    if results := [result for sentence in with_numbers if (result := sentence.result) is not None]:
        return results[-1].value
    if with_numbers[0].is_direct:
        return _direct(with_numbers[0], ())
    line = _read(next(filter(str.strip, text.split("\n")))).reasonless
    kept = [number for number in line.found if not number.is_denied]
    return kept[0].value if len(kept) == 1 else _whole(text)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A cleaned sentence with its numbers and formulas."""

    text: str
    found: Sequence[Found]

    @property
    def is_direct(self) -> bool:
        """Whether it begins with its number, after filler words at most; "of 204 values" is about another number."""
        if not self.found:
            return False
        head = _HEAD_WORDS.findall(self.text[: self.found[0].start].lower())
        return head[:1] != ["of"] and all(len(word) == 1 or word in FILLERS for word in head)

    @property
    def reasonless(self) -> _Sentence:
        """The part before "because" and the like, if that comes after the first number."""
        reason = _REASON.search(self.text, self.found[0].start) if self.found else None
        if reason is None:
            return self
        return _Sentence(self.text[: reason.start()], [number for number in self.found if number.start < reason.start()])

    @property
    def result(self) -> Found | None:
        """Its result, from the reasons only if there is no other; after "so" the last number is the result."""
        kept = [number for number in (*self.found, *self.reasonless.found) if not number.is_denied]
        so = kept if _SO.match(self.text) else []
        return next((number for number in reversed(kept) if number.is_result), next(reversed(so), None))


def _read(text: str) -> _Sentence:
    return _Sentence(sentence := cleaned(text), scanned(sentence))


def _direct(first: _Sentence, others: Iterable[_Sentence]) -> Decimal | None:
    """Return the number at the beginning of the first sentence, or the result of it and the equations after it; None for a list."""
    equations = takewhile(lambda sentence: "=" in sentence.text and not set(_WORDS.findall(sentence.text.lower())) - FILLERS, others)
    is_begun = any(number.is_result and number.value is not None for number in first.found)
    text = "; ".join(sentence.reasonless.text.strip(". ") for sentence in (first, *(equations if is_begun else ())))
    kept = [number for number in scanned(text) if not number.is_denied]
    if not kept:
        return None
    results = [number for number in kept if number.is_result and number.value is not None]
    if results and results[-1].item > kept[0].item and _is_chain(text, kept[0]):
        return results[-1].value
    second = next((number for number in kept if number.item > kept[0].item), kept[0])
    if second.value != kept[0].value and _is_listed(text, kept[0].start, second.start):
        return None
    return next((number for number in reversed(results) if number.item == kept[0].item), kept[0]).value


def _is_chain(text: str, first: Found) -> bool:
    """Return whether the first number is part of a chain of equations, unlike "x = 3, y = 4"."""
    end = _ITEM_END.search(text, first.start)
    sides = [item.partition("=")[0] for item in _ITEM_END.split(text) if "=" in item]
    return (first.value is None or "=" in text[: end.start() if end else None]) and any(map(_MORE_THAN_A_NAME.search, sides))


def _is_listed(sentence: str, first: int, start: int) -> bool:
    """Return whether only the words of a list stand between two numbers, and after the second in its item."""
    item = _ITEM_END.split(sentence[start:], maxsplit=1)[0]
    return set(_WORDS.findall(sentence[first:start] + item)) <= {"and", "or"}


def _whole(text: str) -> Decimal | None:
    found = [number for number in scanned(cleaned(text)) if not number.is_denied]
    return found[-1].value if found else None


_READERS = {"boxed": _boxed, "marked": _marked, "whole": _whole}
