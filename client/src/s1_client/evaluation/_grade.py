# SPDX-License-Identifier: Apache-2.0
"""Whether an answer holds what was expected, by rules that need no second model; and how sure a share of right ones is."""

from __future__ import annotations

import re

from s1_client.evaluation._number_scan import DENIED
from s1_client.evaluation._numbers import literal, number_of
from s1_client.evaluation._stated import plain, stated

_Z = 1.959964  # of a 95% interval

Expected = str | int | float


def is_right(answer: str, expected: Expected) -> bool:
    """A number is expected as the number that the answer states; other text as whole words in what it states, unless "not" is before."""
    number = literal(str(expected))
    if number is not None:
        return number_of(answer) == number
    text = stated(answer).text
    words = r"\s+".join(map(re.escape, plain(str(expected)).split()))
    found = re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)
    return any(not DENIED.search(text, max(0, match.start() - 60), match.start()) for match in found)


def wilson(num_right: int, number: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: honest for few replies and for shares near 0 and 1, too."""
    share, spread = num_right / number, _Z * _Z / number
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * (share * (1 - share) / number + spread / (4 * number)) ** 0.5 / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)
