# SPDX-License-Identifier: Apache-2.0
"""Files of requests: what each of their questions asks, or what is wrong with it. Knows no server and no results.

How a file is read is said in ``s1_client._jsonl``, what a question is in ``s1_client.evaluation._questions``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import click

from s1_client import Prompt, Request
from s1_client._jsonl import Item, items
from s1_client._wire import OPTIONS
from s1_client.evaluation._questions import question_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Request):
    """A request, and what its line of results needs.

    Attributes:
        key: its id there, as it was given, or derived.
        digest: of all that was asked; the same request has the same.
        line: where it was asked, from 1.
        meta: copied to its result.
    """

    key: str | int
    digest: str
    line: int
    meta: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that asks nothing, and why."""

    line: int
    problem: str


class Keys:
    """The ids of a file: each once."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._num_equal: Counter[str] = Counter()

    def take(self, given: str | int | None, digest: str, line: int) -> str | int:
        """The id of a line: the given one, else the digest of what it asks and which one of its equals it is.

        Raises ValueError for one that was there.
        """
        key = self._derived(digest) if given is None else given
        if str(key) in self._lines:
            raise ValueError(f"duplicate id {key!r}, first on line {self._lines[str(key)]}")
        self._lines[str(key)] = line
        return key

    def _derived(self, digest: str) -> str:
        self._num_equal[digest] += 1
        number = self._num_equal[digest]
        return digest if number == 1 else f"{digest}-{number}"


class Requests:
    """The requests of a file, which can be read more than once.

    Args:
        defaults: checked options of lines that have none of that name; null there leaves an option to the server.
        model: a part of what is asked.
    """

    def __init__(self, file: IO[bytes], *, defaults: Mapping[str, Any], model: str) -> None:
        self._file = file
        self._defaults = defaults
        self._model = model

    def __iter__(self) -> Iterator[Asked | BadLine]:
        keys = Keys()
        for item in items(self._file):
            try:
                yield self._asked(item, keys)
            except ValueError as error:
                yield BadLine(line=item.line, problem=str(error))

    def _asked(self, item: Item, keys: Keys) -> Asked:
        if item.problem is not None:
            raise ValueError(item.problem)
        one = question_of(item.value, item.line)
        options = {**self._defaults, **one.options}
        key = keys.take(one.id, digest(one.prompt, one.options), one.line)
        whole = digest(one.prompt, {name: value for name, value in options.items() if value is not None}, model=self._model)
        return Asked(prompt=one.prompt, options=options, key=key, digest=whole, line=one.line, meta=one.meta)


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """The file, or stdin for "-". What can be read only once is copied to a temporary file."""
    with click.open_file(path, "rb") as file:
        if file.seekable():
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            yield copy


def digest(prompt: Prompt, options: Mapping[str, Any], **more: Any) -> str:
    """64 bits of what is asked, in hex. The same for 1 and 1.0 where a number may have a fraction."""
    numbers = {name: float(value) for name, value in options.items() if OPTIONS[name] == "FP32" and isinstance(value, int)}
    asked = {"prompt": prompt, **options, **numbers, **more}
    return digest_of(asked)


def digest_of(data: Any) -> str:
    """64 bits of JSON, in hex; the order of its keys does not matter."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
