# SPDX-License-Identifier: Apache-2.0
"""The format of a question in the files of ``s1 eval``, ``s1 sweep`` and ``s1 batch``.

A file is JSON Lines, a JSON array, or objects over several lines (``s1_client._jsonl`` reads it). A question is a
string, its prompt, or an object with these keys:

    prompt, messages    exactly one: a text, or a chat whose messages have ``role`` and ``content``
    id                  text or an integer, unique within the file
    expected            the right answer: a number or a text
    grading             the kind of grading, a key of ``GRADERS``; default: by ``grading_of``
    meta                any value; ``s1 batch`` copies it to the result
    every request option by its name

Knows no file, server or result.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from s1_client import InvalidRequest, Prompt
from s1_client._chats import chat_of, short
from s1_client._suggest import suggestion
from s1_client._wire import OPTIONS, infer_request
from s1_client.evaluation.grading.graders import GRADERS, check_reference, grading_of
from s1_client.evaluation.grading.text_match import Expected

_SYNONYMS = {
    "question": "prompt",
    "problem": "prompt",
    "input": "prompt",
    "answer": "expected",
    "target": "expected",
    "gold": "expected",
}
KEYS = ("prompt", "messages", "id", "expected", "grading", "meta", *OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuestion:
    """A question of a file, parsed and checked.

    Attributes:
        line: number of its first line, from 1.
        options: its request options; None leaves an option to the server.
        id: as in the file; None without an id.
        grading: None without ``expected``.
    """

    line: int = 1
    prompt: Prompt
    options: Mapping[str, Any] = field(default_factory=dict)
    id: str | int | None = None
    expected: Expected | None = None
    grading: str | None = None
    meta: Any = None


def question_of(value: Any, line: int = 1, *, varied: Collection[str] = ()) -> ParsedQuestion:
    """Return the question of a JSON value. Raises ValueError naming the key, its value and what is allowed.

    ``varied`` are options that the command itself varies, which a question must not set.
    """
    data = _object(value)
    for name in varied:
        if name in data:
            raise ValueError(f"{name}: not allowed in a question; the command line sets it for all questions")
    prompt, options, expected = _prompt(data), {name: data[name] for name in OPTIONS if name in data}, data.get("expected")
    try:
        check_values(options)
    except (InvalidRequest, OverflowError) as error:
        raise ValueError(str(error)) from None
    if expected is not None and not _is_answer(expected):
        raise ValueError(f"expected: got {short(expected)}, allowed: a number, or text that is not empty")
    grading = _grading(data.get("grading"), expected)
    return ParsedQuestion(
        line=line, prompt=prompt, options=options, id=_id(data.get("id")), expected=expected, grading=grading, meta=data.get("meta")
    )


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise ValueError(f"got {short(value)}, allowed: a JSON object, or a string (the prompt)")  # noqa: TRY004  # a value of a file
    unknown = next((key for key in value if key not in KEYS), None)
    if unknown is not None:
        near = f"did you mean '{_SYNONYMS[unknown]}'?" if unknown in _SYNONYMS else suggestion(unknown, KEYS)
        raise ValueError(f"unknown key '{unknown}'{f', {near}' if near else ''}; known: {', '.join(KEYS)}")
    return value


def _prompt(data: Mapping[str, Any]) -> Prompt:
    prompt, messages = data.get("prompt"), data.get("messages")
    if (prompt is None) == (messages is None):
        found = "neither 'prompt' nor 'messages'" if prompt is None else "both 'prompt' and 'messages'"
        raise ValueError(f"{found}, allowed: exactly one of them")
    if messages is not None:
        return chat_of(messages)
    if not isinstance(prompt, str):
        raise ValueError(f"prompt: got {short(prompt)}, allowed: text; a chat goes into 'messages'")  # noqa: TRY004  # a value of a file
    return prompt


def _is_answer(expected: Any) -> bool:
    return not isinstance(expected, bool) and isinstance(expected, str | int | float) and bool(str(expected).strip())


def _grading(given: Any, expected: Expected | None) -> str | None:
    if given is not None and not (isinstance(given, str) and given in GRADERS):
        raise ValueError(f"grading: got {short(given)}, allowed: {', '.join(GRADERS)}")
    if expected is None:
        if given is not None:
            raise ValueError(f"grading: got {short(given)} without 'expected', which it needs")
        return None
    grading = grading_of(expected) if given is None else str(given)
    check_reference(grading, expected)
    return grading


def _id(given: Any) -> str | int | None:
    if given is None or (isinstance(given, str | int) and not isinstance(given, bool) and given != ""):
        return given
    raise ValueError(f"id: got {short(given)}, allowed: text or an integer")


def check_values(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for an option's value that its tensor cannot hold; the server checks everything else."""
    if not options:
        return  # most questions have none
    for name, value in options.items():
        if OPTIONS[name] != "BYTES" and any(isinstance(item, bool) for item in (value if isinstance(value, list) else [value])):
            raise InvalidRequest(name, json.dumps(value), "a number")
    infer_request("", options, stream=True)
