# SPDX-License-Identifier: Apache-2.0
"""Read settings from a TOML table into a frozen dataclass, strictly by its annotations.

bool, int, float, str, Literal      themselves; a whole number is accepted for a float, infinity and NaN are not
X | None                            X; TOML has no null, so a field that is left out keeps its default
Path                                a string; a relative path is relative to the recipe's folder
tuple[X, ...], dict[str, X]         an array, a table
Any                                 whatever JSON can hold: no date, no infinity, no NaN
a dataclass                         a table
a union of dataclasses              a table; the value of its first field, a Literal, chooses the dataclass
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from budgetforce.errors import ConfigError, shorten

T = TypeVar("T")
_SCALARS = {bool: "true or false", int: "an integer", float: "a finite number", str: "a string", Path: "a string, a path"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the tables of one recipe.

    Attributes:
        folder: relative paths in the recipe are relative to it.
        file: name of the recipe, for messages.
    """

    folder: Path
    file: str

    def settings(self, kind: type[T], table: Any, where: str) -> T:
        """Return the settings in a table. Raises ConfigError naming the file, the key's path, its value and the allowed ones."""
        value = self._dataclass(kind, table, where)
        assert isinstance(value, kind)
        return value

    def _dataclass(self, kind: type[Any], table: Any, where: str) -> Any:
        if not isinstance(table, Mapping):
            raise self.error(where, table, "a table")
        known = {field.name: field for field in fields(kind)}
        for key in table:
            if key not in known:
                raise ConfigError(f"{self.file}: {_join(where, key)}: unknown key, allowed: {', '.join(known)}")
        for field in known.values():
            if field.name not in table and field.default is MISSING and field.default_factory is MISSING:
                raise ConfigError(f"{self.file}: {_join(where, field.name)}: missing")
        hints = typing.get_type_hints(kind)
        values = {key: self._value(hints[key], value, _join(where, key)) for key, value in table.items()}
        try:
            return kind(**values)
        except ConfigError as error:  # of the dataclass's own check
            place = f"[{where}] " if where else ""
            raise ConfigError(f"{self.file}: {place}{error.args[0]}") from None

    def _value(self, hint: Any, value: Any, where: str) -> Any:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is Literal:
            return self._checked(value in arguments, value, where, ", ".join(map(repr, arguments)))
        if origin in (Union, types.UnionType):
            return self._one_of([kind for kind in arguments if kind is not type(None)], value, where)
        if origin is tuple:
            self._checked(isinstance(value, list), value, where, "an array")
            return tuple(self._value(arguments[0], entry, f"{where}[{index}]") for index, entry in enumerate(value))
        if origin in (dict, Mapping):
            self._checked(isinstance(value, dict), value, where, "a table")
            return {key: self._value(arguments[1], entry, _join(where, key)) for key, entry in value.items()}
        if is_dataclass(hint):
            assert isinstance(hint, type)
            return self._dataclass(hint, value, where)
        return self._json(value, where) if hint is Any else self._scalar(hint, value, where)

    def _one_of(self, kinds: list[Any], value: Any, where: str) -> Any:
        if len(kinds) == 1:
            return self._value(kinds[0], value, where)
        self._checked(isinstance(value, dict), value, where, "a table")
        tag = fields(kinds[0])[0].name
        by_tag = {typing.get_args(typing.get_type_hints(kind)[tag])[0]: kind for kind in kinds}
        if tag not in value:
            raise ConfigError(f"{self.file}: {_join(where, tag)}: missing, allowed: {', '.join(map(repr, by_tag))}")
        is_known = isinstance(value[tag], str) and value[tag] in by_tag
        self._checked(is_known, value[tag], _join(where, tag), ", ".join(map(repr, by_tag)))
        return self._dataclass(by_tag[value[tag]], value, where)

    def _scalar(self, hint: Any, value: Any, where: str) -> Any:
        accepted = {float: (float, int), Path: (str,)}.get(hint, (hint,))
        is_right = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
        is_right = is_right and (hint is not float or math.isfinite(value))
        self._checked(is_right, value, where, _SCALARS[hint])
        return self.folder / value if hint is Path else float(value) if hint is float else value

    def _json(self, value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return {key: self._json(entry, _join(where, key)) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._json(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
        is_right = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
        return self._checked(is_right, value, where, "a text, a finite number, true, false, an array or a table")

    def _checked(self, is_right: bool, value: Any, where: str, allowed: str) -> Any:
        if not is_right:
            raise self.error(where, value, allowed)
        return value

    def error(self, where: str, value: Any, allowed: str) -> ConfigError:
        """Return the error for a value that is not allowed."""
        return ConfigError(f"{self.file}: {where}: got {shorten(value)}, allowed: {allowed}")


def check(name: str, value: Any, is_allowed: bool, allowed: str) -> None:
    """Raise ConfigError for a field of settings that has a value which is not allowed."""
    if not is_allowed:
        raise ConfigError(f"{name}: got {shorten(value)}, allowed: {allowed}")


def check_positive(settings: Any, *names: str) -> None:
    """Raise ConfigError for the first of some number fields of settings that is not above 0."""
    for name in names:
        check(name, getattr(settings, name), getattr(settings, name) > 0, "a number > 0")


def check_at_least(settings: Any, least: int, *names: str) -> None:
    """Raise ConfigError for the first of some whole-number fields of settings that is less than ``least``."""
    for name in names:
        check(name, getattr(settings, name), getattr(settings, name) >= least, f"an integer >= {least}")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
