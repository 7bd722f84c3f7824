# SPDX-License-Identifier: Apache-2.0
"""Find the numbers and formulas of a text with their context. Pure; ``stated_numbers`` chooses among them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?![\d])(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3}(?!\d))?"
_ARGUMENT = r"(?:\{[^{}]*\}|[a-zA-Z0-9ƒ])"
_MAX_DEPTH = 20  # of nested formulas
# (pattern, replacement), applied in order. ƒ stands for a formula.
_MARKUP = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\(?:left|right|displaystyle|big[lr]?|Big[lr]?)(?![a-zA-Z])|\\[,;:! ]|~|\\q?quad", " "),
        (r"\\(?:bf|rm|it|sf|tt|bfseries|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])|\\(?:text)?color\s*\{[^{}]*\}", " "),
        (r"\\p?mod\s*\{[^{}]*\}|\(\s*(?:\\?mod|modulo)\b[^()]*\)|\\bmod\s*\d+", " "),
        (r"(?<=\d)\s*(?:\\times|\\cdot|\*|x)\s*10\s*(?:\^|\*\*)\s*\{?\s*([+-]?\d{1,3})(?!\d)\s*\}?", r"e\1"),
        (r"(?<=\d)\*\*(?=\d)", "^"),
        (r"(?<=\d)\s*x\s*(?=\d)", " * "),
        (r"\\(?:text|mathrm|textrm|mbox|operatorname)\s*\{([^{}\d]*)\}(?:\s*\^\s*(?:\{[^{}]*\}|\w))?", r" \1 "),
        (r"\\(?:text|textbf|textit|mathbf|mathrm|mathit|bm|boldsymbol|mbox|underline)\s*\{([^{}]*)\}", r"\1"),
        (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|°|\\degree|\\?%|\\?\$|[€£¥]|\\[()\[\]]|\*\*|__|`", " "),
        (r"(?:(?<![a-zA-Z])(?:cm|mm|km|ft|yd)|\b(?:m|in|mi))\s*\^\s*\{?[23]\}?", " unit "),
        (r"(?<=\d)(?:cm|mm|km|kg|ft|yd|lb|mph|min|sec)(?![a-zA-Z])", " unit "),
        (r"\\(?:times|cdot|div|pm|mp|ast)(?![a-zA-Z])|\b(?:plus|minus|times|multiplied by|divided by)\b", " * "),
        (r"\\(?:leq?|geq?|lt|gt|neq?)(?![a-zA-Z])|[<>≤≥≠]", " * "),
        (r"\\(?:approx|equiv|sim|simeq|Rightarrow|implies|rightarrow|to|colon)(?![a-zA-Z])|≈|≡|⇒|→|=+>?", " = "),
        (r"(?<=\d):(?=\d)", " * "),
        (r"\b(?:is|equals?|makes?|gives?|get|totals?|comes)\b(?:\s+(?:equal\s+)?to\b)?", " = "),
    )
)
_FORMULAS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\\[dtc]?(?:frac|binom)(?:\s*{_ARGUMENT}){{1,2}}|\\sqrt\s*(?:\[[^\][]*\])?\s*{_ARGUMENT}",
        rf"(?<![a-zA-Z0-9.)ƒ])[a-zA-Z0-9.)ƒ]+\s*\^\s*(?:-?{_ARGUMENT}[0-9]*|\([^()]*\))",
        rf"(?<![0-9ƒ])[0-9ƒ]+\s*_\s*{_ARGUMENT}",
        r"(?<![a-zA-Z0-9ƒ])(?:[a-zA-Z]|gcd|lcm|max|min)\([^()\n]{0,200}\)",
    )
)
_COMMAND = re.compile(r"\\[a-zA-Z]+|[½¼¾⅓⅔√πΠ]")
_TOKEN = re.compile(
    rf"(?P<number>(?<![a-zA-Z0-9ƒ.]){NUMBER})(?P<glued>[a-zA-Zƒ][a-zA-Z0-9ƒ]*)?"
    r"|(?P<formula>ƒ[a-zA-Z0-9ƒ]*)|(?P<separator>[,;&]|\b(?:and|or)\b)|(?P<relation>=)"
    r"|(?P<sign>[-+*/^](?=\s*[a-zA-Z0-9ƒ(.]))|(?P<bracket>[()\[\]])|(?P<word>[^\W\d_]+(?:'[a-z]+)?)|(?P<other>\S)"
)
_SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,]|\.\d)")  # 8 000
_BULLET = re.compile(r"^[ \t]*[-+*][ \t]+", re.M)
_DASHED = re.compile(r"\s+[^\W\d_]{2}")
_DENYING = r"(?:\bnot|n't|\brather than|\binstead of|\bunlike|\bnever)(?:\s+(?:equal|to|the|=|exactly|just|only))*[\s(]*"
DENIED = re.compile(f"{_DENYING}$", re.I)
_DENIAL = re.compile(_DENYING, re.I)
_ORDINALS = ("st", "nd", "rd", "th")
_VARIABLES = frozenset("xyznki")
FILLERS = frozenset(("about", "approximately", "exactly", "only", "just", "simply", "a", "the", "total", "of", "it", "that", "this", "so"))
FILLERS |= frozenset(("thus", "therefore", "hence", "indeed", "then"))


@dataclass(frozen=True, slots=True)
class Found:
    """A number, or a formula (``value`` is None), in a text.

    Attributes:
        item: number of its list item, from 0; "," ";" "and" "or" separate items.
        start: its position in the text.
        is_result: whether a relation ("=") directly precedes it.
        is_denied: whether "not" directly precedes it.
    """

    value: Decimal | None
    item: int
    start: int
    is_result: bool
    is_denied: bool


def decimal_of(text: str) -> Decimal:
    """Return the exact value of a text that ``NUMBER`` matches."""
    return Decimal(text.replace(",", ""))


def cleaned(text: str, *, is_math: bool = False) -> str:
    """Return a text without markup: ƒ for each formula, one character for each operator, "=" for each relation."""
    if not is_math:
        text = _BULLET.sub("", text)
    text = _SPACED.sub(lambda found: found[0].replace(" ", ""), text)
    for pattern, new in _MARKUP:
        text = pattern.sub(new, text)
    for _ in range(_MAX_DEPTH):
        before = text
        for pattern in _FORMULAS:
            text = pattern.sub("ƒ", text)
        if text == before:
            break
    return _COMMAND.sub("ƒ", text).replace("{", "").replace("}", "")


def scanned(text: str, *, is_math: bool = False) -> list[Found]:
    """Return the numbers and formulas of a ``cleaned`` text in order; with ``is_math``, "2ab" is not a number with a unit."""
    scan = _Scan(text, is_math=is_math)
    for token in _TOKEN.finditer(text):
        getattr(scan, f"_{'number' if token.lastgroup == 'glued' else token.lastgroup}")(token)
    return scan.found


class _Scan:
    """A scan of the tokens of a cleaned text. An expression is open while the next token may belong to it.

    Attributes:
        found: the numbers and formulas so far.
    """

    def __init__(self, text: str, *, is_math: bool) -> None:
        self.found: list[Found] = []
        self._text = text
        self._denied = {denial.end() for denial in _DENIAL.finditer(text)}
        self._is_math = is_math
        self._item = 0
        self._is_open = False  # the last of ``found`` may continue
        self._is_variable = False  # a single letter precedes
        self._operator = ""  # the preceding operator
        self._is_related = False  # "=" precedes

    def _number(self, token: re.Match[str]) -> None:
        glued = token["glued"] or ""
        is_unit = not self._is_math and len(glued) > 1 and glued.isalpha() and "ƒ" not in glued
        value = decimal_of(token["number"]) if not glued or glued.lower() in _ORDINALS or is_unit else None
        self._operand(value, token.start())

    def _formula(self, token: re.Match[str]) -> None:
        self._operand(None, token.start())

    def _operand(self, value: Decimal | None, start: int) -> None:
        is_joined = self._is_open and (self._operator or value is None or self.found[-1].value is None)
        if is_joined:
            self.found[-1] = replace(self.found[-1], value=None)
        else:
            is_formula = self._operator in ("*", "/", "^") or (self._operator and self._is_variable)
            if value is not None and self._operator == "-":
                value = value.copy_negate()  # exact, unlike -value
            self.found.append(Found(None if is_formula else value, self._item, start, self._is_related, start in self._denied))
        self._is_open, self._is_variable, self._operator, self._is_related = True, False, "", False

    def _sign(self, token: re.Match[str]) -> None:
        """Treat + and - as an operator between operands or a number's sign; a dash before a word ends the expression."""
        sign, is_spaced = token[0], self._text[token.end()].isspace()
        if self._is_open and sign == "-" and _DASHED.match(self._text, token.end()):
            self._close()
            self._item += 2
        elif self._is_open or sign not in "+-" or self._is_variable or self._is_math or not is_spaced:
            self._operator = sign

    def _separator(self, _: re.Match[str]) -> None:
        self._item += 1
        self._close()

    def _relation(self, _: re.Match[str]) -> None:
        self._close()
        self._is_related = True

    def _bracket(self, token: re.Match[str]) -> None:
        """Join factors: "2(3)" is a product; "204 (mod 7)" and "(204)" are not."""
        if token[0] in "([" and self._is_open:
            is_glued = token.start() > 0 and not self._text[token.start() - 1].isspace()
            self._operator = "*" if is_glued else ""
            self._is_open = is_glued

    def _word(self, token: re.Match[str]) -> None:
        word = token[0]
        if len(word) == 1 and self._is_open and (self._operator or (self._is_math and word in _VARIABLES)):
            self.found[-1] = replace(self.found[-1], value=None)
            return
        is_related = self._is_related and word.lower() in FILLERS
        self._close()
        self._is_variable, self._is_related = len(word) == 1, is_related

    def _other(self, token: re.Match[str]) -> None:
        """End the expression at a full stop, but not at a quotation mark; in mathematics "5!" is a formula."""
        if token[0] == "!" and self._is_math and self._is_open:
            self.found[-1] = replace(self.found[-1], value=None)
        elif token[0] in ".:?!":
            is_related = self._is_related
            self._close()
            self._is_related = is_related

    def _close(self) -> None:
        self._is_open, self._is_variable, self._operator, self._is_related = False, False, "", False
