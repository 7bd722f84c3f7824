# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is right, by simple rules that need no second model; and how sure a share of right ones is."""

from __future__ import annotations

import re
from decimal import Decimal

# Thousands may have commas. A minus belongs to its number, unless it stands behind another one, or a word.
_NUMBER = re.compile(r"(?:(?<![\w)])-)?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3}(?!\d))?", re.ASCII)
_Z = 1.959964  # of a 95% interval

Expected = str | int | float


def is_right(answer: str, expected: Expected) -> bool:
    """A number is expected as the last number of the answer; other text as whole words somewhere in it."""
    number = number_of(expected)
    if number is not None:
        found = numbers_in(answer)
        return bool(found) and found[-1] == number
    words = r"\s+".join(map(re.escape, str(expected).split()))
    return re.search(rf"(?<!\w){words}(?!\w)", answer, re.IGNORECASE) is not None


def number_of(expected: Expected) -> Decimal | None:
    """The number that is expected, if it is one."""
    text = _plain(str(expected)).strip()
    return _decimal(text) if _NUMBER.fullmatch(text) else None


def numbers_in(text: str) -> list[Decimal]:
    """All numbers, in order."""
    return [_decimal(found) for found in _NUMBER.findall(_plain(text))]


def _plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def wilson(num_right: int, number: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: honest for few replies and for shares near 0 and 1, too."""
    share, spread = num_right / number, _Z * _Z / number
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * (share * (1 - share) / number + spread / (4 * number)) ** 0.5 / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)
