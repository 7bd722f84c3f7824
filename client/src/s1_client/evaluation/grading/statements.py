# SPDX-License-Identifier: Apache-2.0
r"""Find the statement of the result in an answer. Pure; ``stated_numbers`` and ``letters`` read numbers and letters from it.

In this order of precedence, as in the s1 authors' grader (``\boxed`` before "Answer:", the last of each):

    boxed       the last ``\boxed{…}``, ``\fbox{…}`` or ``\boxed 5``. Boxes separated only by "," ";" "and" "or" form a list.
                A truncated last box states nothing, unless an earlier box begins with the truncated content.
    marked      the text after "Answer:", "#### " or the heading "Final Answer"; or after "the answer is"
    whole       the whole answer, if nothing is marked
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["boxed", "marked", "whole"]

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SIGNS = {0x2212: "-", 0x066B: ".", 0x066C: ",", 0x00D7: r"\times ", 0x00F7: r"\div "} | _FULL_WIDTH
_RAISED = {ord(raised): plain for raised, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)}
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_NO_ASCII = re.compile(r"[^\x00-\x7f]")
# Separators of thousands besides the comma: TeX's {,} and thin spaces, non-breaking spaces, 8'000, 8_000. A comma with a
# space after it separates the items of a list, in TeX as well.
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\! ?|\\[,!; ]|~|['_\u00a0\u2007\u2009\u202f])(?=\d{3}(?!\d))")
_CLOSING_TAG = re.compile(r"</answer>", re.I)
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_BARE = re.compile(r"(?:(?!\\(?:boxed|fbox))[^\s$])+")
_SHOWN = re.compile(r"\$\$.*?\$\$|\\\[.*?\\\]|\\begin\{(\w+)\}.*?\\end\{\1\}", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?。])(?=\s)")
_SPACED_MINUS = re.compile(r"^[ \t]*-[ \t]+(?=[\d.])")
_MATHS = re.compile(r"\$[^$]*\$|\\\((?:(?!\\[()]).)*\\\)")
_WORDS = re.compile(r"[^\W\d_]{2,}")
_MIN_WORDS = 4  # of a sentence; "Evelyn" and "New York" are results
_MAX_GAP = 40  # most characters between two boxes of a list
_GAP = re.compile(r"(?:[\s$,;&}.]|\\[,;:!()\[\] ]|\\q?quad|\\(?:text|mathrm)\s*\{|\band\b|\bor\b|\b[a-zA-Z]\s*=)*")
_LISTED = re.compile(r"[,;&]|\band\b|\bor\b")
_WORD = r"(?:\banswers?\b|\bantwort\b|\brespuesta\b|\br[ée]ponse\b|\bответ\b|答案|答え)"
_STRONG = re.compile(
    rf"{_WORD}[*_\s}}\"')]*[:=](?!=)[*_]*|<answer>|^####(?!#)|^[#*_ \t]*(?:the\s+)?(?:final\s+)?answer[*_ \t#]*$", re.I | re.M
)
_WEAK = re.compile(r"\banswer\b[^.:;\n=!?]{0,60}?\b(?:is|was|equals|be)\b(?:\s*:)?|答案[是为]", re.I)


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement of the result in an answer.

    Attributes:
        text: the statement, in ``plain`` text.
        is_final: whether weaker statements are irrelevant; after "the answer is" another statement may count.
    """

    text: str
    kind: Kind
    is_final: bool


def plain(text: str) -> str:
    """Return a text with digits and punctuation of any script as ASCII, and with only commas as separators of thousands."""
    if not text.isascii():
        text = _RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(_RAISED)}}}", text.translate(_SIGNS))
        text = _NO_ASCII.sub(lambda character: str(unicodedata.decimal(character[0], character[0])), text)
    return _CLOSING_TAG.sub("", _THOUSANDS.sub("", text))


def statements(answer: str) -> Iterator[Stated]:
    """Yield the statements of an answer, the most authoritative first. A final statement ends the search, whatever its content."""
    text = plain(answer)
    boxed = _boxed(text)
    if boxed is not None:
        yield Stated(boxed, "boxed", is_final=True)
    if strong := list(_STRONG.finditer(text)):
        yield Stated(_tail(text[strong[-1].end() :]), "marked", is_final=True)
    for tail in weakly_marked(text):
        yield Stated(tail, "marked", is_final=False)
    yield Stated(text.strip(), "whole", is_final=True)


def weakly_marked(text: str) -> Iterator[str]:
    """Yield the text after each "the answer is", up to the next such mark, the last first."""
    end = len(text)
    for mark in reversed(list(_WEAK.finditer(text))):
        yield _tail(text[mark.end() : end])
        end = mark.start()


def _tail(text: str) -> str:
    """Return the text after a mark; "- 3" on the mark's line is a negative number, on later lines a list item."""
    return _SPACED_MINUS.sub("-", text).strip()


def stated(answer: str) -> Stated:
    """Return the most authoritative statement of an answer."""
    return next(statements(answer))


def result_of(statement: Stated) -> str:
    """Return the result within a statement, without a final full stop or Markdown stars.

    After a mark it is the first formula, line or sentence, since comments may follow. If that is a whole sentence and
    "the answer is …" comes later, it is the text after that. Other kinds of statement are the result as a whole.
    """
    if statement.kind == "boxed":
        return statement.text
    if statement.kind == "whole":
        return _bare(statement.text)
    first = _first(statement.text)
    if len(_WORDS.findall(_MATHS.sub("", first))) >= _MIN_WORDS or _WEAK.search(first):
        first = next((_first(tail) for tail in weakly_marked(statement.text) if tail), first)
    return _bare(first)


def is_prose(result: str) -> bool:
    """Return whether a result is a sentence around a formula or a number."""
    return len(_WORDS.findall(_MATHS.sub("", result))) > 1 and ("$" in result or any(map(str.isdigit, result)))


def _first(text: str) -> str:
    """Return the first formula, line or sentence; if the line ends with a colon, with the next."""
    shown = _SHOWN.match(text)
    if shown:
        return shown[0]
    line, _, rest = text.partition("\n")
    if line.rstrip().endswith(":"):
        return f"{line}\n{_first(rest.strip())}" if rest.strip() else line
    ends = (end.start() for end in _SENTENCE_END.finditer(line) if line.count("$", 0, end.start()) % 2 == 0)
    return line[: next(ends, len(line))].strip()


def _bare(text: str) -> str:
    return text.strip("*_ \n\t").rstrip("*_.,; \n\t")


def _boxed(text: str) -> str | None:
    """Return the content of the last box, or of the list of boxes that it ends; "" if truncated; None without a box."""
    closing, boxes = _closing(text), list[tuple[int, int, str | None]]()
    for box in _BOX.finditer(text):
        start = box.end()
        if text[start : start + 1] == "{":
            end = closing.get(start)
            boxes.append((box.start(), len(text), None) if end is None else (box.start(), end + 1, text[start + 1 : end].strip()))
        elif bare := _BARE.match(text, start):
            boxes.append((box.start(), bare.end(), bare[0].rstrip(".,;")))
    if not boxes:
        return None
    if boxes[-1][2] is None:
        whole = [box for box in boxes if box[2] is not None]
        truncated = text[boxes[-1][0] :].partition("{")[2].strip()
        return whole[-1][2] if whole and str(whole[-1][2]).startswith(truncated) else ""
    return _listed(text, boxes)


def _listed(text: str, boxes: list[tuple[int, int, str | None]]) -> str:
    found = [str(boxes[-1][2])]
    for (_, end, content), (start, *_) in zip(reversed(boxes[:-1]), reversed(boxes), strict=False):
        gap = text[end:start]
        if content is None or len(gap) > _MAX_GAP or not _GAP.fullmatch(gap) or not _LISTED.search(gap):
            break
        found.append(content)
    return ", ".join(dict.fromkeys(reversed(found)))


def _closing(text: str) -> dict[int, int]:
    """Return position of an opening brace -> position of its closing brace; escaped braces do not count."""
    opened, closing = list[int](), dict[int, int]()
    for brace in _BRACES.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closing[opened.pop()] = brace.start()
    return closing
