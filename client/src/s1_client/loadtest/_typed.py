# SPDX-License-Identifier: Apache-2.0
"""Decode plain data (JSON or TOML) into frozen dataclasses by their annotations; undeclared fields are rejected by name.

Supported: dataclasses, ``tuple[X, ...]``, ``dict[str, X]``, ``Literal``, ``X | None`` and other unions, ``Any``,
str, int, float (also accepts an int) and bool.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any, Literal, TypeVar, Union

from s1_client._suggest import suggestion

Decoded = TypeVar("Decoded")

_NAMES = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}


class Malformed(ValueError):
    """Data of a wrong shape; the message names the field, the value and the allowed values."""


def decode(kind: type[Decoded], data: Any, where: str = "") -> Decoded:
    """Return ``data`` as a ``kind``; ``where`` names the field that holds it. Raises Malformed."""
    return typing.cast("Decoded", _decode(kind, data, where))


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        return _union(arguments, data, where)
    if origin is Literal:
        return data if data in arguments and not isinstance(data, bool) else _refuse(where, data, " or ".join(map(repr, arguments)))
    if origin is tuple:
        entries = data if isinstance(data, list | tuple) else _refuse(where, data, "a list")
        return tuple(_decode(arguments[0], entry, f"{where}[{number}]") for number, entry in enumerate(entries))
    if origin is dict:
        return {key: _decode(arguments[1], value, f"{where}.{key}") for key, value in _object(data, where).items()}
    return _object_of(kind, data, where) if dataclasses.is_dataclass(kind) else _plain(kind, data, where)


def _plain(kind: type, data: Any, where: str) -> Any:
    if kind is float and type(data) is int:
        return float(data)
    return data if type(data) is kind else _refuse(where, data, _NAMES[kind])  # not isinstance: True is an int


def _union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _decode(rest[0], data, where)
    if type(data) in rest:
        return data
    return _refuse(where, data, " or ".join(_NAMES.get(kind, "a list") for kind in kinds))


def _object(data: Any, where: str) -> dict[str, Any]:
    return data if isinstance(data, dict) else _refuse(where, data, "an object")


def _object_of(kind: Any, data: Any, where: str) -> Any:
    hints, prefix = _hints(kind), f"{where}." if where else ""
    unknown = sorted(set(_object(data, where)) - set(hints))
    if unknown:
        allowed = ", ".join(hints)
        raise Malformed(f"{prefix}{unknown[0]}: unknown, {suggestion(unknown[0], hints) or f'allowed: {allowed}'}")
    missing = [field.name for field in dataclasses.fields(kind) if field.name not in data and _is_required(field)]
    if missing:
        raise Malformed(f"{prefix}{missing[0]}: missing")
    values = {name: _decode(hints[name], value, f"{prefix}{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except Malformed as error:  # from the class's __post_init__
        raise Malformed(f"{prefix}{error}") from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _refuse(where: str, data: Any, allowed: str) -> Any:
    raise Malformed(f"{where or 'document'}: got {_shortened(data)}, allowed: {allowed}")


def _shortened(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}…"
