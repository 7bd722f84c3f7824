# SPDX-License-Identifier: Apache-2.0
"""The one format of a question, for ``s1 eval``, ``s1 sweep`` and ``s1 batch``: what it asks, and what is known of its answer.

A file is JSON Lines, a JSON array, or objects over several lines (see ``s1_client._jsonl``). A question is an object
with these keys, or a string, which is its prompt:

    prompt, messages    one of them: a text, or a chat whose messages have ``role`` and ``content``
    id                  text or an integer; each once in a file
    expected            the right answer: a number or a text
    grading             how answers are held against it, a key of ``GRADERS``; without it ``grading_of`` decides
    meta                anything; ``s1 batch`` copies it to the result
    every option of a request by its name

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

_ELSEWHERE = {"question": "prompt", "problem": "prompt", "input": "prompt", "answer": "expected", "target": "expected", "gold": "expected"}
KEYS = ("prompt", "messages", "id", "expected", "grading", "meta", *OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """One question of a file.

    Attributes:
        line: where it begins, from 1.
        options: those that it names; None leaves an option to the server.
        id: as it was given.
        grading: None without ``expected``.
    """

    line: int = 1
    prompt: Prompt
    options: Mapping[str, Any] = field(default_factory=dict)
    id: str | int | None = None
    expected: Expected | None = None
    grading: str | None = None
    meta: Any = None


def question_of(value: Any, line: int = 1, *, varied: Collection[str] = ()) -> Asks:
    """Return the question that a JSON value is. Raises ValueError naming the key, its value and what is allowed.

    ``varied`` are the options that the command varies itself, so that a question cannot name them.
    """
    data = _object(value)
    for name in varied:
        if name in data:
            raise ValueError(f"{name}: the command line says it for all questions; leave it out here")
    prompt, options, expected = _prompt(data), {name: data[name] for name in OPTIONS if name in data}, data.get("expected")
    try:
        check_values(options)
    except (InvalidRequest, OverflowError) as error:
        raise ValueError(str(error)) from None
    if expected is not None and not _is_answer(expected):
        raise ValueError(f"expected: got {short(expected)}, allowed: a number, or text that is not empty")
    grading = _grading(data.get("grading"), expected)
    return Asks(
        line=line, prompt=prompt, options=options, id=_id(data.get("id")), expected=expected, grading=grading, meta=data.get("meta")
    )


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise ValueError(f"got {short(value)}, allowed: a JSON object, or a string, the prompt")  # noqa: TRY004  # a value of a file
    unknown = next((key for key in value if key not in KEYS), None)
    if unknown is not None:
        near = f"did you mean '{_ELSEWHERE[unknown]}'?" if unknown in _ELSEWHERE else suggestion(unknown, KEYS)
        raise ValueError(f"unknown key '{unknown}'{f', {near}' if near else ''}; known: {', '.join(KEYS)}")
    return value


def _prompt(data: Mapping[str, Any]) -> Prompt:
    prompt, messages = data.get("prompt"), data.get("messages")
    if (prompt is None) == (messages is None):
        raise ValueError(f"{'neither' if prompt is None else 'both'} 'prompt' {'nor' if prompt is None else 'and'} 'messages'")
    if messages is not None:
        return chat_of(messages)
    if not isinstance(prompt, str):
        raise ValueError(f"prompt: got {short(prompt)}, allowed: text; a chat belongs into 'messages'")  # noqa: TRY004  # a value of a file
    return prompt


def _is_answer(expected: Any) -> bool:
    return not isinstance(expected, bool) and isinstance(expected, str | int | float) and bool(str(expected).strip())


def _grading(given: Any, expected: Expected | None) -> str | None:
    if given is not None and not (isinstance(given, str) and given in GRADERS):
        raise ValueError(f"grading: got {short(given)}, allowed: {', '.join(GRADERS)}")
    if expected is None:
        if given is not None:
            raise ValueError(f"grading: got {short(given)} without 'expected', the answer to grade by")
        return None
    grading = grading_of(expected) if given is None else str(given)
    check_reference(grading, expected)
    return grading


def _id(given: Any) -> str | int | None:
    if given is None or (isinstance(given, str | int) and not isinstance(given, bool) and given != ""):
        return given
    raise ValueError(f"id: got {short(given)}, allowed: text or an integer")


def check_values(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for a value that cannot be sent. What else is allowed is the server's to say."""
    if not options:
        return  # most questions have none
    for name, value in options.items():
        if OPTIONS[name] != "BYTES" and any(isinstance(one, bool) for one in (value if isinstance(value, list) else [value])):
            raise InvalidRequest(name, json.dumps(value), "a number")
    infer_request("", options, stream=True)
