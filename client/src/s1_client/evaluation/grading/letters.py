# SPDX-License-Identifier: Apache-2.0
r"""Read the letter of a choice from an answer, in upper case as the s1 authors compare it. Pure.

By kind of statement (``statements``):

    boxed     a single letter, or a letter with bracket, dot or text after it: ``\boxed{B}``, ``\boxed{\text{(b)}}``,
              ``\boxed{B: Paris}``; a box with other content (a formula, a value) states no letter
    marked    the letter at the beginning of the statement; else the letter after "the answer is" in it; else as "whole"
    whole     the whole answer if it is a single letter; "so B."; "B is correct"; "option B"; the option at the
              beginning; else the last letter

Letters in a formula, denied letters ("not B", "B fails"), the article "A" and the pronoun "I" do not count. Several letters
("A or B") state nothing.
"""

from __future__ import annotations

import re

from s1_client.evaluation.grading.number_scan import FILLERS
from s1_client.evaluation.grading.statements import statements, weakly_marked

_FORMULA = re.compile(r"\$\$?([^$]*)\$\$?|\\\(((?:(?!\\[()]).)*)\\\)|\\\[((?:(?!\\[\[\]]).)*)\\\]", re.DOTALL)
_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|bf|rm|boxed|fbox|bm|boldsymbol|mbox)(?![a-zA-Z])|[{}$*_`]|\\[,;:! ]"
)
_ALONE = re.compile(r"[\s(\[\"'<]*([A-Za-z])[\s)\]\"'>.:,!]*")
_OPTION = re.compile(
    r"\s*(?:(?:option|choice|answer)\s*)?(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])(?=[):.]|\s[-–—]\s+[^\W\d_]{2}))", re.I
)
_LIST = re.compile(r"[\s(]*[A-Za-z][\s)]*(?:(?:,|/|&|\band\b|\bor\b)+[\s(]*[A-Za-z][\s)]*)+\.?")
_ALSO = re.compile(r"[)\]\"'*]*\s*(?:,?\s*(?:and|or)\s+|[/&]\s*)(?:option\s+|choice\s+)?\(?([A-Z])(?![\w'])")
_CAPITAL = re.compile(r"(?<![\w'\\^.-])\(?([A-Z])\)?(?![\w'^=]|-\w|\s*[=+<>])")
# No noun follows the letter A; the article A does not precede a vowel.
_LETTER_A = re.compile(
    r" (?!(?:[ai]\w*|e(?!u)\w*|o(?!ne\b)\w*|because|since|but|not|for|by|was|were|from|due|given|the|this|that|these|must|would|should"
    r"|could|can|cannot|will|while|when|where|which|who|whose|with|than|then|so|to|has|have|does|did|seems|being)\b)[a-z]"
)
_LETTER_I = re.compile(r" (?!(?:is|was|because|since|and|or|but|not)\b)[a-z]")  # a verb follows the pronoun I
_PROSE = {"A": _LETTER_A, "I": _LETTER_I}
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|nor|neither|unlike|except|than|instead of|exclud\w+|eliminat\w+|reject\w*)|n't|\brul\w+ out)"
    r"(?:\s+(?:equal|to|the|option|choice|answer|is|be|both|either))*[\s(\"'*]*$",
    re.I,
)
_DENIED_BEHIND = re.compile(
    r"[)\]\"'*]*(?:\s+and\s+\(?[A-Z]\)?(?=\s+are\b))?\s+(?:is|are|was|seems|looks)?\s*"
    r"(?:n't|not\b|wrong|incorrect|false|out\b|fail|impossible|cannot|can't|does|tempting|(?:a|the) (?:common )?dis)",
    re.I,
)
_CORRECT = re.compile(
    r"(?<![\w'])\(?([A-Z])\)?\s+(?:is|must be|has to be)\s+(?:the\s+)?(?:only\s+)?(?:correct|right|best|true|answer)\b",
)
_CHOSEN = re.compile(
    r"\b(?:[Cc]hoos\w+|[Cc]hose|[Pp]ick\w*|[Ss]elect\w*|[Gg]o(?:ing)? with|[Oo]ption|[Cc]hoice|[Aa]nswer)"
    r"(?:\s+is|:)?\s+(?:option\s+|choice\s+)?\(?([A-Z])(?![\w'])"
)
_CONCLUDED = re.compile(r"\b(?:[Ss]o|[Tt]hus|[Tt]herefore|[Hh]ence)\b,?\s+(?:it\s+is\s+)?\(?([A-Z])\)?(?=\s*(?:[.!]|\n|$))")
# Words that may precede the letter at the beginning of a statement.
_LEAD = FILLERS | {"is", "must", "be", "would", "should", "i", "think", "say", "choose", "pick", "select"}
_LEAD |= {"option", "choice", "correct", "right", "best", "my"}
_HEAD_WORDS = re.compile(r"[^\W\d_]+")
_LOWER = re.compile(r"\(([a-z])\)")
_LABEL = re.compile(r"^[ \t]*\(?[A-Za-z][).:]\s", re.M)
_SENTENCE = re.compile(r"(?<=[.!?。])\s+|\n+")
_REASON = re.compile(r"\b(?:because|since)\b", re.I)
_SEVERAL = ""


def letter_of(answer: str) -> str | None:
    """Return the letter that an answer states, in upper case, or None."""
    for statement in statements(answer):
        letter = _READERS[statement.kind](statement.text)
        if letter is not None:
            return letter or None
    return None


def _boxed(text: str) -> str | None:
    bare = _WRAPPER.sub("", text).strip()
    if alone := _ALONE.fullmatch(bare):
        return alone[1].upper()
    if _LIST.fullmatch(bare):
        return _SEVERAL
    option = _OPTION.match(bare)
    return _letter(option).upper() if option else None


def _marked(text: str) -> str | None:
    letter = _direct(next(filter(None, map(_words, _SENTENCE.split(text))), ""))
    later = (letter for tail in weakly_marked(text) if (letter := _marked(tail)) is not None)
    return letter if letter is not None else next(later, None) or _whole(text)


def _direct(sentence: str) -> str | None:
    """Return the letter at the beginning of a sentence, or None."""
    if alone := _ALONE.fullmatch(sentence):
        return alone[1].upper()
    if _LIST.fullmatch(sentence):
        return _SEVERAL
    if option := _OPTION.match(sentence):
        return _unless_several(sentence, option)
    letters = _capitals(sentence)
    if letters and _LEAD.issuperset(_HEAD_WORDS.findall(sentence[: letters[0].start()].lower())):
        return _unless_several(sentence, letters[0])
    return None


def _whole(text: str) -> str | None:
    words = _words(text)
    if alone := _ALONE.fullmatch(words):
        return alone[1].upper()
    for pattern in (_CONCLUDED, _CORRECT, _CHOSEN):
        found = [match for match in pattern.finditer(words) if not _is_denied(words, match) and not _is_article(words, match)]
        if found:
            return _unless_several(words, found[-1])
    option = _OPTION.match(words)
    if option and len(_LABEL.findall(words)) < 2:
        return _unless_several(words, option)
    for sentence in reversed(_SENTENCE.split(words)):
        if letters := _capitals(_before_reason(sentence)) or _capitals(sentence):
            return letters[-1][1]
    lower = _LOWER.findall(words)
    return lower[-1].upper() if lower else None


_READERS = {"boxed": _boxed, "marked": _marked, "whole": _whole}


def _words(text: str) -> str:
    """Return the text without markup and formulas, except formulas that are a letter."""
    return re.sub(r"[*_`]+", "", _FORMULA.sub(_kept, text)).strip()


def _kept(formula: re.Match[str]) -> str:
    letter = _boxed(next((part for part in formula.groups() if part is not None), ""))
    return f"({letter})" if letter else " … "


def _capitals(sentence: str) -> list[re.Match[str]]:
    return [match for match in _CAPITAL.finditer(sentence) if not _is_article(sentence, match) and not _is_denied(sentence, match)]


def _is_article(text: str, found: re.Match[str]) -> bool:
    """Return whether a letter is a word of prose, as in "A train" and "I think"."""
    return found[1] in _PROSE and _PROSE[found[1]].match(text, found.end(1)) is not None


def _is_denied(text: str, found: re.Match[str]) -> bool:
    start, end = found.span(1)
    return bool(_DENIED_BEFORE.search(text, max(0, start - 60), start) or _DENIED_BEHIND.match(text, end))


def _unless_several(text: str, found: re.Match[str]) -> str:
    letter = _letter(found).upper()
    also = _ALSO.match(text, found.end())
    return _SEVERAL if also and also[1] != letter and not _is_denied(text, also) else letter


def _letter(found: re.Match[str]) -> str:
    return str(next(group for group in found.groups() if group))


def _before_reason(sentence: str) -> str:
    reason = _REASON.search(sentence)
    return sentence[: reason.start()] if reason else sentence
