# SPDX-License-Identifier: Apache-2.0
r"""Reader of JSON files and JSON Lines: questions, results, sample logs, chats, verdicts. Knows nothing of their contents.

Files written by people are read strictly: a duplicate key, NaN, a number that is too large and a lone surrogate are refused.
Files written by programs (results, logs; ``is_log=True``) may hold NaN and lone surrogates, which Python's own writer emits.

    line            ends with "\n" or "\r\n" and nothing else: U+2028, U+0085 and the like are text
    byte order mark dropped from the first line
    blank line      skipped, but counted
    array           in a file of questions: each element is an item, with the line on which it begins; so are objects
                    that are spread over several lines (``items``)
    torn last line  left to the caller, who sees that it has no "\n" (``lines_of``)
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_DIGITS = 4300  # Python's limit (sys.set_int_max_str_digits)
_TOO_DEEP = "not JSON: nested too deeply"
_SPACE = re.compile(r"[ \t\r\n]*")
_FIRST = b'{["'  # the first bytes of an object, an array and a text
FORMAT = 'JSON Lines has an object on each line, such as {"prompt": "…", "expected": "…"}; docs/evaluation.md shows how to convert CSV'


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A value in a file, or the problem with it.

    Attributes:
        line: number of the line where it begins, from 1.
        value: its JSON value; None if there is a ``problem``.
        problem: the reason why there is no value.
    """

    line: int
    value: Any = None
    problem: str | None = None


def lines_of(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line with its end) of all lines that are not blank, from the start of the file; of a pipe, the rest."""
    if file.seekable():
        file.seek(0)
    for number, raw in enumerate(file, 1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        if line.strip():
            yield number, line


def is_whole(line: bytes) -> bool:
    """Return whether a line has its end; a run that was killed may leave a last line without."""
    return line.endswith(b"\n")


def items(file: IO[bytes]) -> Iterator[Item]:
    """Yield the items of JSON Lines in a file that can be read twice, or of a file that is one JSON array or objects over several lines.

    It is the latter if the first line that is not blank begins with "[" or is "{". A file whose first line does not begin
    like JSON (CSV, say) yields a single item, whose problem names the format.
    """
    first = next(lines_of(file), None)
    if first is None:
        return
    number, line = first
    text = line.strip()
    if text.startswith(b"[") or text == b"{":
        yield from _document(file)
    elif text[0] in _FIRST:
        yield from (_item(*entry) for entry in lines_of(file))
    else:
        yield Item(line=number, problem=f"not JSON Lines, and nothing below was read; {_encoding(line) or FORMAT}")


def _item(number: int, line: bytes) -> Item:
    try:
        return Item(line=number, value=read_json(line))
    except ValueError as error:
        return Item(line=number, problem=str(error))


def read_json(raw: bytes, *, is_log: bool = False) -> Any:
    """Return the value of one JSON text. Raises ValueError, whose message names the problem and its place."""
    text, problems = _decoded(raw), list[str]()
    try:
        value = _decoder(problems, is_log=is_log).decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise ValueError(f"not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    problems += [] if is_log else _surrogates(value, text)
    if problems:
        raise ValueError(problems[0])
    return value


def read_file(path: Path, *, is_log: bool = False) -> Any:
    """Return the value of a file that holds one JSON text. Raises ValueError as ``read_json`` does, and OSError."""
    return read_json(path.read_bytes(), is_log=is_log)


def read_text(raw: bytes) -> str:
    """Return a text as Python reads a file: without a byte order mark, line feeds as ends. Raises ValueError if it is not UTF-8."""
    return _decoded(raw).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(raw: bytes) -> str:
    try:
        return raw.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise ValueError(_encoding(raw) or f"not UTF-8: byte {raw[error.start]:#04x} at {error.start + 1}") from None


def _encoding(raw: bytes) -> str | None:
    return "not UTF-8: its first bytes are those of UTF-16" if raw.startswith(_UTF16) else None


def _document(file: IO[bytes]) -> Iterator[Item]:
    """Yield the items of a whole file: the elements of arrays, and the values beside arrays."""
    file.seek(0)
    try:
        text = _decoded(file.read())
    except ValueError as error:
        yield Item(line=1, problem=str(error))
        return
    place, is_inside = _skip(text, 0), False
    line, counted = 1, 0  # lines up to there; counting from the start each time would take time quadratic in the file's length
    while place < len(text):
        line, counted = line + text.count("\n", counted, place), place
        if text[place] == ("]" if is_inside else "["):
            place, is_inside = _skip(text, place + 1), not is_inside
            continue
        item, end = _value_at(text, place, line)
        yield item
        if end is None:
            return
        place = _skip(text, end)
        if is_inside and text[place : place + 1] == ",":
            place = _skip(text, place + 1)
        elif is_inside and text[place : place + 1] != "]":
            yield Item(line=line + text.count("\n", counted, place), problem="not JSON: ',' or ']' is missing after an element")
            return
    if is_inside:
        yield Item(line=line + text.count("\n", counted), problem="not JSON: the array has no ']'")


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _value_at(text: str, place: int, line: int) -> tuple[Item, int | None]:
    """Return the item at ``place`` and its end; None as its end if that is not known."""
    problems = list[str]()
    try:
        value, end = _decoder(problems, is_log=False).raw_decode(text, place)
    except json.JSONDecodeError as error:
        return Item(line=error.lineno, problem=f"not JSON: {error.msg} at column {error.colno}"), None
    except RecursionError:
        return Item(line=line, problem=_TOO_DEEP), None
    problems += _surrogates(value, text[place:end])
    return (Item(line=line, problem=problems[0]) if problems else Item(line=line, value=value)), end


def _decoder(problems: list[str], *, is_log: bool) -> json.JSONDecoder:
    """Return a decoder that notes problems and goes on, so that the end of an item is known all the same."""
    return json.JSONDecoder(
        object_pairs_hook=partial(_object, problems),
        parse_constant=None if is_log else partial(_constant, problems),
        parse_int=partial(_integer, problems),
        parse_float=float if is_log else partial(_float, problems),
    )


def _object(problems: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        duplicate = next(key for key, number in Counter(key for key, _ in pairs).items() if number > 1)
        problems.append(f"key '{duplicate}' is there twice")
    return data


def _constant(problems: list[str], text: str) -> None:
    problems.append(f"not JSON: {text} is no number there")


def _integer(problems: list[str], text: str) -> int:
    if len(text) <= _MAX_DIGITS:
        return int(text)
    problems.append(f"a number of {len(text)} digits, allowed: {_MAX_DIGITS}")
    return 0


def _float(problems: list[str], text: str) -> float:
    value = float(text)
    if math.isinf(value):
        problems.append(f"a number that is too large: {text[:40]}")
    return value


def _surrogates(value: Any, text: str) -> list[str]:
    if "\\u" not in text:
        return []
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        return [_TOO_DEEP]
    except UnicodeEncodeError:
        return ["half a character (a \\ud… without its other half), which UTF-8 cannot hold"]
    return []
