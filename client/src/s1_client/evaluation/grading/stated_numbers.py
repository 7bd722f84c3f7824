# SPDX-License-Identifier: Apache-2.0
r"""The number that an answer states. Pure.

Only a number that is written out counts: 8,000, ``8{,}000``, -3, 1e3, ``1.5 \times 10^3``, 204.0, 50%, 12 cm. What has to be
calculated first (``\frac{8}{2}``, 2^10, 30 + 5) is a *formula*: no number, and not the last number in it either; grading
"math" is for formulas.

    boxed     one number; behind the last "=" if there is one; several different ones are a list, and that is no number
    told      what it begins with: a number, or the end of equations that follow from each other; all else is commentary. If it
              begins with words: what "the answer is" in it says; else what its last sentence with a result comes to ("= 55",
              "is 55"); else the only number of its first line; else the last number
    said      the last number
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, takewhile

from s1_client.evaluation.grading.number_scan import FILLERS, NUMBER, Found, cleaned, decimal_of, scanned
from s1_client.evaluation.grading.statements import plain, statements, weakly_told

_LITERAL = re.compile(rf"[+-]?{NUMBER}")
_SENTENCE = re.compile(r"(?<=[.?。])(?:\s+|$)|(?<=!)(?:\s+(?![=*/+^-])|$)|\n+")  # "5! = 120" is one
_REASON = re.compile(r"\b(?:because|since|as|for|given|where|which|(?<!so )when|but|though|although|while|due|with|out of|from)\b", re.I)
_ITEM_END = re.compile(r"[,;&](?!\d{3})|\b(?:and|or)\b|\s-\s+(?=[^\W\d_]{2})")
_MORE_THAN_A_NAME = re.compile(r"[-+*/^ƒ(\d]|[a-z]{2}")  # before "=": "x + y", "so the answer", and not "x" or "AB"
_WORDS = re.compile(r"[^\W\d_ƒ]{2,}")
_SO = re.compile(r"\s*(?:so|thus|therefore|hence|in total|altogether)\b", re.I)
_MAY_HOLD = re.compile(r"[\d\\^½¼¾⅓⅔√πΠ]")  # a number or a formula
_HEAD_WORDS = re.compile(r"[^\W\d_]+")


def number_of(answer: str) -> Decimal | None:
    """Return the number that an answer states, if it states one."""
    for one in statements(answer):
        value = _READERS[one.kind](one.text)
        if value is not None or one.is_final:
            return value
    return None


def numbers_in(text: str) -> list[Decimal]:
    """Return all numbers of a text that are written out, in order."""
    return [one.value for one in scanned(cleaned(plain(text))) if one.value is not None]


def literal(text: str) -> Decimal | None:
    """Return the number that a text is, and nothing besides."""
    bare = plain(text).strip()
    return decimal_of(bare) if _LITERAL.fullmatch(bare) else None


# --- by kind of statement -------------------------------------------------------------------------


def _boxed(text: str) -> Decimal | None:
    found = scanned(cleaned(text, is_math=True), is_math=True)
    values = {_chain(list(item)) for _, item in groupby(found, key=lambda one: one.item)}
    return values.pop() if len(values) == 1 else None


def _chain(found: Sequence[Found]) -> Decimal | None:
    """What "11 * 5 = 55" comes to; two numbers without a relation come to nothing."""
    results = [one for one in found if one.is_result and one.value is not None]
    if results:
        return results[-1].value
    values = [one for one in found if one.value is not None]
    return values[0].value if len(values) == 1 and found[0] is values[0] else None


def _told(text: str) -> Decimal | None:
    sentences = [part for part in _SENTENCE.split(text) if part]
    first = _read(sentences[0]) if sentences else None
    if first and first.is_direct and (value := _direct(first, map(_read, sentences[1:]))) is not None:
        return value
    numbers = [one for part in sentences if _MAY_HOLD.search(part) and (one := _read(part)).found]
    told = (value for tail in weakly_told(text) if (value := _told(tail)) is not None)
    if (value := next(told, None)) is not None or not numbers or (first and first.is_direct):
        return value
    if results := [result for one in numbers if (result := one.result) is not None]:
        return results[-1].value
    if numbers[0].is_direct:
        return _direct(numbers[0], ())
    line = _read(next(filter(str.strip, text.split("\n")))).reasonless
    kept = [one for one in line.found if not one.is_denied]
    return kept[0].value if len(kept) == 1 else _said(text)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A cleaned sentence and its numbers and formulas."""

    text: str
    found: Sequence[Found]

    @property
    def is_direct(self) -> bool:
        """Whether it begins with its number: no word before that says anything, but "of 204 values" speaks of another one."""
        if not self.found:
            return False
        head = _HEAD_WORDS.findall(self.text[: self.found[0].start].lower())
        return head[:1] != ["of"] and all(len(word) == 1 or word in FILLERS for word in head)

    @property
    def reasonless(self) -> _Sentence:
        """What stands before "because" and the like, if that is behind the first number."""
        reason = _REASON.search(self.text, self.found[0].start) if self.found else None
        return self if reason is None else _Sentence(self.text[: reason.start()], [one for one in self.found if one.start < reason.start()])

    @property
    def result(self) -> Found | None:
        """What it comes to, with regard to reasons only if there is nothing else; "so" has its last number as its result."""
        kept = [one for one in (*self.found, *self.reasonless.found) if not one.is_denied]
        so = kept if _SO.match(self.text) else []
        return next((one for one in reversed(kept) if one.is_result), next(reversed(so), None))


def _read(text: str) -> _Sentence:
    return _Sentence(sentence := cleaned(text), scanned(sentence))


def _direct(first: _Sentence, others: Iterable[_Sentence]) -> Decimal | None:
    """What the first sentence begins with, or what it comes to with the equations behind it; None for a list of several."""
    equations = takewhile(lambda one: "=" in one.text and not set(_WORDS.findall(one.text.lower())) - FILLERS, others)
    is_begun = any(one.is_result and one.value is not None for one in first.found)
    text = "; ".join(one.reasonless.text.strip(". ") for one in (first, *(equations if is_begun else ())))
    kept = [one for one in scanned(text) if not one.is_denied]
    if not kept:
        return None
    results = [one for one in kept if one.is_result and one.value is not None]
    if results and results[-1].item > kept[0].item and _is_chain(text, kept[0]):
        return results[-1].value
    second = next((one for one in kept if one.item > kept[0].item), kept[0])
    if second.value != kept[0].value and _is_listed(text, kept[0].start, second.start):
        return None
    return next((one for one in reversed(results) if one.item == kept[0].item), kept[0]).value


def _is_chain(text: str, first: Found) -> bool:
    """Whether it is a formula, or part of an equation, that others follow from, unlike "x = 3, y = 4"."""
    end = _ITEM_END.search(text, first.start)
    sides = [item.partition("=")[0] for item in _ITEM_END.split(text) if "=" in item]
    return (first.value is None or "=" in text[: end.start() if end else None]) and any(map(_MORE_THAN_A_NAME.search, sides))


def _is_listed(sentence: str, first: int, start: int) -> bool:
    """Whether there are no words but those of a list from one number to another one, and behind that one in its item."""
    item = _ITEM_END.split(sentence[start:], maxsplit=1)[0]
    return set(_WORDS.findall(sentence[first:start] + item)) <= {"and", "or"}


def _said(text: str) -> Decimal | None:
    found = [one for one in scanned(cleaned(text)) if not one.is_denied]
    return found[-1].value if found else None


_READERS = {"boxed": _boxed, "told": _told, "said": _said}
