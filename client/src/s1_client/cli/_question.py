# SPDX-License-Identifier: Apache-2.0
"""What is asked: from the command line, a file or a pipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

STDIN = "-"
Messages = list[dict[str, str]]


def read_prompt(question: str | None, file: str | None, messages: str | None) -> str | Messages:
    """The question, or a chat that it is added to. Raises click.UsageError if there is none, or more than one."""
    if question is not None and file is not None:
        raise click.UsageError("QUESTION and --file: only one of them")
    if question == STDIN or (question is None and file is None and messages is None and not sys.stdin.isatty()):
        question, file = None, STDIN
    if file == messages == STDIN:
        raise click.UsageError("stdin can be read only once")
    if file is not None:
        question = _read(file).removesuffix("\n")
    if question is not None and not question.strip():
        raise click.UsageError("the question is empty")
    if messages is not None:
        return [*read_messages(messages), *([{"role": "user", "content": question}] if question is not None else [])]
    if question is None:
        raise click.UsageError("no question: give one, or - to read it from stdin")
    return question


def read_messages(path: str) -> Messages:
    """Chat messages out of a JSON file. Raises click.UsageError if they are none."""
    try:
        messages = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise click.UsageError(f"{_name(path)}: no JSON: {error}") from None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise click.UsageError(f'{_name(path)}: allowed: [{{"role": "user", "content": "..."}}, ...]')
    return messages


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"role", "content"} and all(isinstance(text, str) for text in value.values())


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == STDIN else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{_name(path)}: {getattr(error, 'strerror', None) or error}") from None


def _name(path: str) -> str:
    return "stdin" if path == STDIN else path
