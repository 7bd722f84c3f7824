# SPDX-License-Identifier: Apache-2.0
r"""The number that an answer states. Pure.

Only a number that is written out counts: 8,000, ``8{,}000``, -3, 1e3, ``1.5 \times 10^3``, 204.0, 50%, 12 cm. What has to be
calculated first (``\frac{8}{2}``, 2^10, 30 + 5) is a *formula*: no number, and not the last number in it either; grading
"math" is for formulas.

    boxed     one number; behind the last "=" if there is one; several different ones are a list, and that is no number
    told      the number that it begins with, or that a sentence comes to ("= 55", "is 55"), or the only one of its first line;
              what follows is commentary
    said      the last number
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby

from s1_client.evaluation._number_scan import FILLERS, NUMBER, Found, cleaned, decimal_of, scanned
from s1_client.evaluation._stated import plain, statements

_LITERAL = re.compile(rf"[+-]?{NUMBER}")
_SENTENCE = re.compile(r"(?<=[.!?。])(?:\s+|$)|\n+")
_REASON = re.compile(r"\b(?:because|since|as|for|given|where|which|(?<!so )when|but|though|although|while|due|with|out of|from)\b", re.I)
_CONCLUSION = re.compile(r"=.*?\b(?:so|thus|therefore|hence)\b")  # "11 is a multiple of 8, so you get 88"
_ITEM_END = re.compile(r"[,;&](?!\d{3})|\b(?:and|or)\b")
_WORDS = re.compile(r"[^\W\d_ƒ]{2,}")


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
    is_first = True
    for line in filter(None, text.split("\n")):
        sentences = [(sentence, found) for part in _SENTENCE.split(line) if (found := scanned(sentence := cleaned(part)))]
        for sentence, found in sentences:
            sentence = _before_reason(sentence, found[0].start)
            kept = [one for one in found if one.start < len(sentence) and not one.is_denied]
            if is_first and _is_direct(sentence[: found[0].start]):
                return _direct(sentence, kept)
            if results := [one for one in kept if one.is_result]:
                return results[-1].value
            if is_first and len(sentences) == len(kept) == 1:
                return kept[0].value
            is_first = False
    return _said(text)


def _is_direct(head: str) -> bool:
    """Whether a statement begins with its number: no word before it says anything."""
    return all(len(word) == 1 or word.lower() in FILLERS for word in re.findall(r"[^\W\d_]+", head))


def _direct(sentence: str, kept: Sequence[Found]) -> Decimal | None:
    """The number that a statement begins with, or that its first item comes to; None for a list of several."""
    if not kept:
        return None
    first = [one for one in kept if one.item == kept[0].item]
    second = next((one for one in kept if one.item > kept[0].item), kept[0])
    if second.value != kept[0].value and _is_listed(sentence, kept[0].start, second.start):
        return None
    conclusion = _CONCLUSION.search(sentence, kept[0].start)
    results = [one for one in first if one.is_result and one.value is not None]
    if not results and conclusion:
        results = [one for one in kept if one.start > conclusion.end() and one.is_result and one.value is not None]
    return results[-1].value if results else first[0].value


def _is_listed(sentence: str, first: int, start: int) -> bool:
    """Whether there are no words but those of a list from one number to another one, and behind that one in its item."""
    item = _ITEM_END.split(sentence[start:], maxsplit=1)[0]
    return set(_WORDS.findall(sentence[first:start] + item)) <= {"and", "or"}


def _before_reason(sentence: str, start: int) -> str:
    """What stands before "because" and the like, if that is behind the first number."""
    reason = _REASON.search(sentence, start)
    return sentence[: reason.start()] if reason else sentence


def _said(text: str) -> Decimal | None:
    found = [one for one in scanned(cleaned(text)) if not one.is_denied]
    return found[-1].value if found else None


_READERS = {"boxed": _boxed, "told": _told, "said": _said}
