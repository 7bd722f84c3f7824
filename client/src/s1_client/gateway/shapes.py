# SPDX-License-Identifier: Apache-2.0
"""The base of all request models, and their refusals: every field is declared, numbers are numbers, and each mistake names its path.

openai-python's own types are TypedDicts, from which a validator drops unknown fields without a word; so these are our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from s1_client._suggest import suggestion
from s1_client.gateway.errors import Refusal, bad_value

Model = TypeVar("Model", bound="Strict")
_SHOWN = 60
_PHRASES = {  # pydantic's kind of mistake -> what is allowed
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_long": "a text of at most {max_length} characters",
    "list_type": "a list",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than_equal": "a number >= {ge}",
    "less_than_equal": "a number <= {le}",
    "literal_error": "{expected}",
}
EXTRA_BODY = "extra_body is an argument of openai-python, not a field; put its fields at the top level of the body"


class Strict(BaseModel):
    """A JSON object whose fields are all known. True is no number, "5" is none, and 2.0 is no integer."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


def neutral(*values: Any, why: str) -> Any:
    """Return the type of a field that other servers have and this one has not: null and ``values`` change nothing, and are accepted."""

    def check(value: Any) -> Any:
        if value is None or any(type(value) is type(allowed) and value == allowed for allowed in values):
            return value
        words = " or ".join(json.dumps(allowed) for allowed in (*values, None))
        raise PydanticCustomError("neutral", "{words}: {why}", {"words": words, "why": why})

    return Annotated[Any, AfterValidator(check), WithJsonSchema({"enum": [*values, None], "description": why})]


def validated(model: type[Model], data: Any) -> Model:
    """Return the model of a body. Raises Refusal (400) that names the path of the first mistake."""
    if not isinstance(data, dict):
        raise Refusal(status=400, message=f"the body is {_shown(data)}, allowed: a JSON object", code="invalid_json")
    if "extra_body" in data:
        raise Refusal(status=400, message=EXTRA_BODY, param="extra_body", code="unknown_field")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False), data, model) from None


def _refusal(mistakes: Sequence[ErrorDetails], data: Any, model: type[BaseModel]) -> Refusal:
    """Return the refusal of the mistake that lies deepest: of a union's members, the one that was meant got furthest."""
    paths = [(_path(mistake["loc"], data), mistake) for mistake in mistakes]
    path, mistake = max(paths, key=lambda entry: len(entry[0]))
    name = _written(path)
    if mistake["type"] == "extra_forbidden":
        known = model.model_fields if len(path) == 1 else {}
        hint = suggestion(str(path[-1]), known)
        return Refusal(status=400, message=f"unknown field {name}{f'; {hint}' if hint else ''}", param=name, code="unknown_field")
    if mistake["type"] == "missing":
        return Refusal(status=400, message=f"field {name} is missing", param=name, code="missing_field")
    members = dict.fromkeys(_allowed(other) for place, other in paths if place == path)  # of a union: all its members
    return bad_value(name, _shown(mistake["input"]), " or ".join(members))


def _allowed(mistake: ErrorDetails) -> str:
    """Return the values that are allowed in place of a refused one, as a phrase."""
    phrase = _PHRASES.get(mistake["type"])
    if phrase is None:
        return mistake["msg"].removeprefix("Input should be ")
    return phrase.format(**mistake.get("ctx", {})).replace(" 1 entries", " 1 entry")


def _path(location: Sequence[int | str], data: Any) -> tuple[int | str, ...]:
    """Return the part of pydantic's location that the caller knows: without the names of a union's members."""
    path: list[int | str] = []
    for number, step in enumerate(location):
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
            path.append(step)
            data = data[step]
        elif isinstance(data, Mapping) and (step in data or number == len(location) - 1):
            path.append(step)
            data = data.get(step)
    return tuple(path)


def _written(path: Sequence[int | str]) -> str:
    """Return a path as ``messages[0].content``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _shown(value: Any) -> str:
    """Return the first characters of a value's JSON."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError):  # an integer of thousands of digits
        return "a value that cannot be shown"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
