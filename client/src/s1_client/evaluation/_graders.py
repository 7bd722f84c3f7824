# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is right, by the kind of its question; and what of an answer counts in a vote. Pure, but for "math" and "judge".

A grader gets a whole answer and the reference. Further kinds are entries of ``GRADERS`` and, for votes, of ``VOTES``.

    integer   the last number of the final part is the reference
    letter    the letter of a choice
    math      the final part is the same formula, by math-verify (needs the package)
    judge     the same text or number, or a language model says that it is the same result (see ``_judge``)
    text      the number or the words stand in the answer
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Mapping
from functools import cache

from s1_client.evaluation import _math
from s1_client.evaluation._grade import Expected, is_right, numbers_in
from s1_client.evaluation._judge import Judge

Grader = Callable[[str, Expected], bool]
Vote = Callable[[str], str | None]

_BOXED = "\\boxed{"
_TOLD = re.compile(r"answer\s*:", re.IGNORECASE)
_LETTER = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")
_WORD_BEHIND = re.compile(r" [a-z]")  # "A train" and "I think" hold no letter that was chosen


def final_part(answer: str) -> tuple[str, bool]:
    r"""What an answer comes to, and whether it was marked as that: the last ``\boxed{…}``, else what stands behind
    the last "Answer:", else all of it.
    """
    boxed = _last_boxed(answer)
    if boxed is not None:
        return boxed, True
    told = [match.end() for match in _TOLD.finditer(answer)]
    return (answer[told[-1] :].strip(), True) if told else (answer.strip(), False)


def _last_boxed(answer: str) -> str | None:
    start = answer.rfind(_BOXED)
    depth = 1
    for place in range(start + len(_BOXED), len(answer)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(answer[place], 0)
        if not depth:
            return answer[start + len(_BOXED) : place].strip()
    return None


def integer_of(answer: str) -> str | None:
    """The last number of the final part, if it is whole: "023" is 23, as AIME writes it."""
    numbers = numbers_in(final_part(answer)[0])
    return str(int(numbers[-1])) if numbers and numbers[-1] == int(numbers[-1]) else None


def letter_of(answer: str) -> str | None:
    """The letter that was chosen: the first capital that stands alone in a marked final part, the last one elsewhere."""
    part, is_marked = final_part(answer)
    letters = [found[1] for found in _LETTER.finditer(part) if not (found[1] in "AI" and _WORD_BEHIND.match(part, found.end()))]
    return (letters[0] if is_marked else letters[-1]) if letters else None


def text_of(answer: str) -> str | None:
    """The final part without regard to case and white space."""
    return " ".join(final_part(answer)[0].casefold().split()) or None


def is_same_formula(answer: str, reference: Expected) -> bool:
    """By math-verify. Raises MissingPackage."""
    part, is_marked = final_part(answer)
    if not part:
        return False
    return _verifier().is_same(str(reference), f"\\boxed{{{part}}}" if is_marked else part)


def is_judged_same(answer: str, reference: Expected) -> bool:
    """By a language model, unless text or number are the same anyway. Raises JudgeFailed."""
    part, _ = final_part(answer)
    number = integer_of(str(reference))
    if not part:
        return False
    if text_of(answer) == text_of(str(reference)):
        return True
    if number is not None and part.isdecimal() and str(reference).strip().isdecimal():
        return str(int(part)) == number
    return Judge.of(os.environ).is_same(str(reference), part)


@cache
def _verifier() -> _math.Verifier:
    verifier = _math.Verifier()
    atexit.register(verifier.close)
    return verifier


VOTES: Mapping[str, Vote] = {"integer": integer_of, "letter": letter_of, "math": text_of, "judge": text_of, "text": text_of}
GRADERS: Mapping[str, Grader] = {
    "integer": lambda answer, reference: integer_of(answer) == integer_of(str(reference)),
    "letter": lambda answer, reference: letter_of(answer) == str(reference).strip().upper(),
    "math": is_same_formula,
    "judge": is_judged_same,
    "text": is_right,
}


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
    """What of an answer counts in a vote; of a grading without an own entry the final part as it is."""
    return VOTES.get(grading, lambda answer: final_part(answer)[0] or None)


# What a kind needs before anything is asked: raises ImportError or JudgeFailed if it is not there.
NEEDS: Mapping[str, Callable[[], object]] = {"math": _math.check, "judge": lambda: Judge.of(os.environ)}
