# SPDX-License-Identifier: Apache-2.0
"""Read JSON that has one meaning only: no duplicate keys, no numbers beyond a double, no NaN, no nesting without end."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from s1_client.gateway.errors import Refusal, bad_value

MAX_DEPTH = 64  # far more than any request has; Python's parser itself ends near 1,000
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(body: bytes) -> Any:
    """Return the value in a body. Raises Refusal (400) for anything that is not JSON with one meaning."""
    try:
        value = json.loads(body, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except RecursionError:
        raise _refused(f"nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8") from None
    except ValueError as error:
        raise _refused(str(error)) from None
    _check_depth(value, MAX_DEPTH)
    if _SURROGATE.search(body):
        for path in _broken_texts(value, ""):
            raise bad_value(path.removeprefix("."), "a lone surrogate", "text that UTF-8 can hold")
    return value


def _check_depth(value: Any, levels: int) -> None:
    if levels < 0:
        raise _refused(f"nested deeper than {MAX_DEPTH} levels")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        if isinstance(child, dict | list):
            _check_depth(child, levels - 1)


def _broken_texts(value: Any, path: str) -> Iterator[str]:
    """Yield the paths of texts that no UTF-8 can hold: half of a pair of escapes."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            yield path
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _broken_texts(name, f"{path}: a key")
            yield from _broken_texts(child, f"{path}.{name}")
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _broken_texts(child, f"{path}[{number}]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands in an object twice")
    return read


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refused(why: str) -> Refusal:
    return Refusal(status=400, message=f"the body is no valid JSON: {why}", code="invalid_json")
