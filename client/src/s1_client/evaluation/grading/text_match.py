# SPDX-License-Identifier: Apache-2.0
"""Match an answer with an expected number or text by rules, without a second model."""

from __future__ import annotations

import re

from s1_client.evaluation.grading.number_scan import DENIED
from s1_client.evaluation.grading.stated_numbers import literal, number_of
from s1_client.evaluation.grading.statements import plain, stated

Expected = str | int | float


def is_right(answer: str, expected: Expected) -> bool:
    """Return whether an answer states the expected number, or contains the expected words.

    A number must equal the number that the answer states. Other text must occur as whole words in the answer's
    statement, with no "not" before it.
    """
    number = literal(str(expected))
    if number is not None:
        return number_of(answer) == number
    text = stated(answer).text
    words = r"\s+".join(map(re.escape, plain(str(expected)).split()))
    found = re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)
    return any(not DENIED.search(text, max(0, match.start() - 60), match.start()) for match in found)
