# SPDX-License-Identifier: Apache-2.0
"""Read the prompt from the command line, a file or a pipe."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from s1_client._chats import chat_of
from s1_client._jsonl import read_json, read_text

STDIN = "-"
Messages = list[dict[str, str]]


def read_prompt(question: str | None, file: str | None, messages: str | None) -> str | Messages:
    """Return the question, or the chat messages followed by it. Raises click.UsageError for no question or several."""
    if question is not None and file is not None:
        raise click.UsageError("give either QUESTION or --file, not both")
    if question == STDIN or (question is None and file is None and messages is None and not sys.stdin.isatty()):
        question, file = None, STDIN
    if file == messages == STDIN:
        raise click.UsageError("stdin can be read only once: not for the question and for --messages")
    if file is not None:
        question = _question(file)
    if question is not None and not question.strip():
        raise click.UsageError("the question is empty")
    if messages is not None:
        return [*read_messages(messages), *([{"role": "user", "content": question}] if question is not None else [])]
    if question is None:
        raise click.UsageError("no question: give QUESTION, or - to read it from stdin")
    return question


def read_messages(path: str) -> Messages:
    """Read chat messages from a JSON file. Raises click.UsageError for invalid messages."""
    raw = _read(path)
    try:
        return chat_of(read_json(raw))
    except ValueError as error:
        raise click.UsageError(f"{_name(path)}: {error}") from None


def _question(path: str) -> str:
    """Read a question from a file, without its last line break."""
    raw = _read(path)
    try:
        return read_text(raw).removesuffix("\n")
    except ValueError as error:
        raise click.UsageError(f"{_name(path)}: {error}") from None


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{_name(path)}: {error.strerror}") from None


def _name(path: str) -> str:
    return "stdin" if path == STDIN else path
