# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is right, by the kind of its question; and what of an answer counts in a vote. Pure, but for "math" and "judge".

A grader gets a whole answer and the reference. What the answer states is found first (``_stated``), then converted. Further
kinds are entries of ``GRADERS`` and, for votes, of ``VOTES``.

    integer   the number that is stated (``_numbers``)
    letter    the letter of a choice that is stated (``_letters``)
    math      the formula that is stated is the same, by math-verify (needs the package)
    judge     the same text or number, or a language model says that it is the same result (see ``_judge``)
    text      the number, or the words, are stated
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache

from s1_client.evaluation.grading import math_verifier
from s1_client.evaluation.grading.judge import Judge, JudgeFailed, Ungraded
from s1_client.evaluation.grading.letters import letter_of
from s1_client.evaluation.grading.stated_numbers import literal, number_of
from s1_client.evaluation.grading.statements import is_prose, plain, result_of, stated
from s1_client.evaluation.grading.text_match import Expected, is_right

Grader = Callable[[str, Expected], bool]
Vote = Callable[[str], str | None]

_log = logging.getLogger(__name__)


def integer_of(answer: str) -> str | None:
    """The number that is stated, if it is whole: "023" is 23, as AIME writes it."""
    number = number_of(answer)
    if number is None or number != (whole := number.to_integral_value()):
        return None
    return f"{whole or whole.copy_abs():f}"  # of any length, which int() does not take; and not -0


def text_of(answer: str) -> str | None:
    """The result as it is written, without regard to case and white space."""
    return " ".join(result_of(stated(answer)).casefold().split()) or None


def is_same_formula(answer: str, reference: Expected) -> bool:
    """By math-verify. Raises MissingPackage."""
    one = stated(answer)
    result = result_of(one)
    if not result:
        return False
    is_whole = one.kind == "boxed" or (one.kind == "told" and not is_prose(result))  # math-verify looks for formulas in a sentence
    return _verifier().is_same(plain(str(reference)), f"\\boxed{{{result}}}" if is_whole else result)


def is_judged_same(answer: str, reference: Expected) -> bool:
    """By a language model, unless text or number are the same anyway. Raises JudgeFailed and Ungraded."""
    text = stated(answer).text
    if not text:
        return False
    numbers = literal(text), literal(str(reference))
    if None not in numbers:
        return numbers[0] == numbers[1]
    return text_of(answer) == text_of(str(reference)) or Judge.of(os.environ).is_same(str(reference), text)


@cache
def _verifier() -> math_verifier.Verifier:
    verifier = math_verifier.Verifier()
    atexit.register(verifier.close)
    return verifier


VOTES: Mapping[str, Vote] = {"integer": integer_of, "letter": letter_of, "math": text_of, "judge": text_of, "text": text_of}
GRADERS: Mapping[str, Grader] = {
    "integer": lambda answer, reference: (found := integer_of(answer)) is not None and found == integer_of(str(reference)),
    "letter": lambda answer, reference: (found := letter_of(answer)) is not None and found == letter_of(str(reference)),
    "math": is_same_formula,
    "judge": is_judged_same,
    "text": is_right,
}


def grade(grading: str, answer: str, expected: Expected) -> bool:
    """Return whether an answer is right.

    Raises MissingPackage and JudgeFailed if nothing can be graded; Ungraded if this answer cannot.
    """
    try:
        return GRADERS[grading](answer, expected)
    except (math_verifier.MissingPackage, JudgeFailed, Ungraded):
        raise
    except Exception as error:
        _log.exception("grading %s failed on an answer", grading)  # a bug on one answer must not cost all others
        raise Ungraded(f"{type(error).__name__}: {error}"[:200]) from error


def grading_of(expected: Expected) -> str:
    """Return the kind of grading that fits a reference: integer, letter, or text."""
    text = str(expected).strip()
    if text.lstrip("+-").isascii() and text.lstrip("+-").isdigit():
        return "integer"
    return "letter" if len(text) == 1 and "A" <= text <= "Z" else "text"


def check_reference(grading: str, expected: Expected) -> None:
    """Raise ValueError if no answer could be right: the reference of an integer is no integer, that of a letter no letter."""
    allowed = {"integer": (integer_of, "a whole number"), "letter": (letter_of, "one letter")}
    if grading in allowed:
        read, what = allowed[grading]
        if read(str(expected)) is None:
            raise ValueError(f"expected: got {str(expected)[:60]!r}, allowed with grading {grading}: {what}")


def vote_of(grading: str) -> Vote:
    """What of an answer counts in a vote; of a grading without an own entry what it states, as it is."""
    return VOTES.get(grading, lambda answer: stated(answer).text or None)


# What a kind needs before anything is asked: raises ImportError or JudgeFailed if it is not there.
NEEDS: Mapping[str, Callable[[], object]] = {"math": math_verifier.check, "judge": lambda: Judge.of(os.environ)}
