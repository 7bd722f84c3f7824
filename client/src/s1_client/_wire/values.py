# SPDX-License-Identifier: Apache-2.0
"""Values of request fields: checked against type and range of their tensors, and converted to the tensors' bytes.

NumPy alone would silently wrap a large number around, round a small number to 0, and take True for 1. Every function raises
InvalidRequest that names the field.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.utils import serialize_byte_tensor

from s1_client._access import is_text
from s1_client._errors import InvalidRequest
from s1_client._fields import FIELDS

LISTS = tuple(row.name for row in FIELDS.values() if row.is_list)
_DTYPES: dict[str, Any] = {"INT32": np.int32, "UINT64": np.uint64, "FP32": np.float32, "BOOL": np.bool_}
_TEXT = "text that UTF-8 can hold"
_MOST, _LEAST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)


def values_of(name: str, value: Any, datatype: str) -> list[Any]:
    """Return the elements of a field's tensor: a single value, or any number of texts if the field is a list."""
    if datatype == "BYTES":
        return _texts(name, value)
    if datatype == "FP32":
        return [_number(name, value)]
    return [_integer(name, value, np.iinfo(_DTYPES[datatype]))]


def tensor_bytes(values: Sequence[Any], datatype: str) -> bytes:
    """Return the elements as the bytes of Triton's ``raw_input_contents``."""
    if datatype != "BYTES":
        return np.array(values, _DTYPES[datatype]).tobytes()
    return bytes(serialize_byte_tensor(np.array([text.encode() for text in values], np.object_)).item()) if values else b""


def check_text(name: str, value: Any, allowed: str = _TEXT) -> str:
    """Return ``value`` if it is a text that UTF-8 can hold."""
    if not is_text(value):
        raise InvalidRequest(name, shown(value), allowed)
    return str(value)


def check_id(value: Any) -> str:
    """Return ``value`` if it can be the id of a request. Triton takes only the part before a NUL character."""
    if not is_text(value) or "\0" in value:
        raise InvalidRequest("request id", shown(value), f"{_TEXT}, without NUL characters")
    return str(value)


def _texts(name: str, value: Any) -> list[str]:
    if name not in LISTS:
        row = FIELDS.get(name)
        return [check_text(name, value, row.allowed if row is not None and row.values else _TEXT)]
    texts = [value] if isinstance(value, str | bytes) or not isinstance(value, Sequence) else value
    return [check_text(name, text, f"{_TEXT}, or a list of such texts") for text in texts]


def _integer(name: str, value: Any, limits: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not limits.min <= value <= limits.max:
        least, most = FIELDS[name].least, FIELDS[name].most
        allowed = f"an integer from {limits.min if least is None else least} to {limits.max if most is None else most}"
        raise InvalidRequest(name, shown(value), allowed)
    return int(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or value != value:  # NaN
        allowed = FIELDS[name].allowed
        raise InvalidRequest(name, shown(value), allowed if allowed.startswith("a number") else f"a number, {allowed}")
    if not _fits(value):
        raise InvalidRequest(name, shown(value), "a number that 32 bits can hold")
    return float(value)


def _fits(value: Any) -> bool:
    try:
        number = abs(float(value))
    except OverflowError:
        return False
    return number == 0 or (math.isfinite(number) and _LEAST / 2 < number <= _MOST)


def shown(value: Any) -> str:
    """Return a value for a message, at most 80 characters. Python refuses to write an integer of some thousand digits."""
    try:
        return ascii(value)[:80]
    except ValueError:
        return "an integer of very many digits"
