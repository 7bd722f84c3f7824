# SPDX-License-Identifier: Apache-2.0
"""Whether an answer holds what was expected, by rules that need no second model."""

from __future__ import annotations

import re

from s1_client.evaluation.grading.number_scan import DENIED
from s1_client.evaluation.grading.stated_numbers import literal, number_of
from s1_client.evaluation.grading.statements import plain, stated

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
