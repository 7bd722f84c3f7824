# SPDX-License-Identifier: Apache-2.0
"""Grade an answer by the kind of its question, and reduce an answer to its vote. Pure, except "math" and "judge".

A grader gets a whole answer and the reference, finds the answer's statement of its result (``statements``) and compares
it. Further kinds are entries of ``GRADERS`` and, for votes, of ``VOTES``.

    integer   the stated number equals the reference (``stated_numbers``)
    letter    the stated letter of a choice equals the reference (``letters``)
    math      the stated formula equals the reference by math-verify (a package of its own)
    judge     text or number are the same, or a language model says that the results are the same (``judge``)
    text      the expected number or words are stated (``text_match``)
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
    """Return the stated number if it is whole: "023", as AIME writes it, is "23"."""
    number = number_of(answer)
    if number is None or number != (whole := number.to_integral_value()):
        return None
    return f"{whole or whole.copy_abs():f}"  # int() limits the length; -0 becomes 0


def text_of(answer: str) -> str | None:
    """Return the stated result as text, with case folded and white space normalised."""
    return " ".join(result_of(stated(answer)).casefold().split()) or None


def is_same_formula(answer: str, reference: Expected) -> bool:
    """Return whether the stated formula equals the reference by math-verify. Raises MissingPackage."""
    statement = stated(answer)
    result = result_of(statement)
    if not result:
        return False
    # In a sentence math-verify itself looks for the formula.
    is_formula = statement.kind == "boxed" or (statement.kind == "marked" and not is_prose(result))
    return _verifier().is_same(plain(str(reference)), f"\\boxed{{{result}}}" if is_formula else result)


def is_judged_same(answer: str, reference: Expected) -> bool:
    """Return whether text or number are the same, or else a language model says so. Raises JudgeFailed and Ungraded."""
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
    """Return whether an answer is right by a kind of grading, a key of ``GRADERS``.

    Raises MissingPackage and JudgeFailed if no answer can be graded, and Ungraded if this answer cannot.
    """
    try:
        return GRADERS[grading](answer, expected)
    except (math_verifier.MissingPackage, JudgeFailed, Ungraded):
        raise
    except Exception as error:
        _log.exception("grading %s failed on an answer", grading)  # a bug that one answer triggers must not stop the run
        raise Ungraded(f"{type(error).__name__}: {error}"[:200]) from error


def grading_of(expected: Expected) -> str:
    """Return the kind of grading that fits a reference: integer, letter or text."""
    text = str(expected).strip()
    if text.lstrip("+-").isascii() and text.lstrip("+-").isdigit():
        return "integer"
    return "letter" if len(text) == 1 and "A" <= text <= "Z" else "text"


def check_reference(grading: str, expected: Expected) -> None:
    """Raise ValueError if the reference is not an integer for grading "integer", or not a letter for "letter"."""
    allowed = {"integer": (integer_of, "a whole number"), "letter": (letter_of, "one letter")}
    if grading in allowed:
        read, description = allowed[grading]
        if read(str(expected)) is None:
            raise ValueError(f"expected: got {str(expected)[:60]!r}, allowed with grading {grading}: {description}")


def vote_of(grading: str) -> Vote:
    """Return the function that reduces an answer to its vote; without an entry in ``VOTES`` the vote is the statement itself."""
    return VOTES.get(grading, lambda answer: stated(answer).text or None)


# Checks of a kind's requirements before a run: they raise ImportError or JudgeFailed.
NEEDS: Mapping[str, Callable[[], object]] = {"math": math_verifier.check, "judge": lambda: Judge.of(os.environ)}
