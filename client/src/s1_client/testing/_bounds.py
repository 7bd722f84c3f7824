# SPDX-License-Identifier: Apache-2.0
"""Limits of the real server: request parameters are refused, and texts have a size limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s1_client._errors import InvalidRequest
from s1_client._fields import FIELDS
from s1_client._suggest import nearest
from s1_client._wire.values import LISTS

MAX_TEXT_BYTES, MAX_NAME_BYTES, MAX_ID_BYTES = 1 << 20, 256, 512
MAX_WORDS, MAX_WORDS_BYTES, MAX_MESSAGES = 512, 16384, 2048
_TEXTS = ("text_input", "messages", "answer_prefix")


def refuse_parameters(request: Any) -> None:
    """Raise InvalidRequest for a request parameter, and for an id that is too long."""
    check_size("request id", len(request.id.encode()), MAX_ID_BYTES, "bytes")
    for name in sorted(request.parameters):
        if name.startswith("triton_"):
            continue
        near = nearest(name.lower(), FIELDS)
        allowed = "the name of an existing field" + (f"; did you mean {near[0]}?" if near else "")
        if name in FIELDS:
            allowed = f"nothing as a request parameter: {name} is an input tensor"
        raise InvalidRequest(name, str(request.parameters[name]).partition(": ")[2].strip(), allowed)


def check_sizes(field: str, values: Sequence[bytes]) -> None:
    """Raise InvalidRequest for strings that are too many or too long."""
    if field in LISTS:
        check_size(field, len(values), MAX_WORDS, "strings")
        check_size(field, sum(map(len, values)), MAX_WORDS_BYTES, "bytes together")
        return
    for value in values:
        check_size(field, len(value), MAX_TEXT_BYTES if field in _TEXTS else MAX_NAME_BYTES, "bytes")


def check_size(field: str, size: int, limit: int, unit: str) -> None:
    """Raise InvalidRequest if a size is over its limit."""
    if size > limit:
        raise InvalidRequest(field, f'"{size} {unit}"', f"at most {limit} {unit}")
