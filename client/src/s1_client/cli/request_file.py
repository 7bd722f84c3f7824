# SPDX-License-Identifier: Apache-2.0
"""The input file of ``s1 batch``: its requests, and the lines that are none. Knows no server and no results.

``s1_client._jsonl`` documents the file formats, ``s1_client.evaluation._questions`` the keys of a question.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import click

from s1_client._jsonl import Item, items
from s1_client.evaluation._questions import question_of
from s1_client.runs import BadLine, BatchRequest, digest


class Keys:
    """The ids of a file, which must be unique."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._num_equal: Counter[str] = Counter()

    def take(self, given: str | int | None, digest: str, line: int) -> str | int:
        """Return the id of a line: the given one, else its digest, numbered if equal lines came before it.

        Raises ValueError for an id that an earlier line has.
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
    """The requests of a file, which can be iterated more than once.

    Args:
        defaults: checked options for lines that do not name them; a null in a line leaves the option to the server.
        model: the model's name on the server, part of each digest.
    """

    def __init__(self, file: IO[bytes], *, defaults: Mapping[str, Any], model: str) -> None:
        self._file = file
        self._defaults = defaults
        self._model = model

    def __iter__(self) -> Iterator[BatchRequest | BadLine]:
        keys = Keys()
        for item in items(self._file):
            try:
                yield self._request(item, keys)
            except ValueError as error:
                yield BadLine(line=item.line, problem=str(error))

    def _request(self, item: Item, keys: Keys) -> BatchRequest:
        if item.problem is not None:
            raise ValueError(item.problem)
        question = question_of(item.value, item.line)
        options = {**self._defaults, **question.options}
        key = keys.take(question.id, digest(question.prompt, question.options), question.line)
        whole = digest(question.prompt, {name: value for name, value in options.items() if value is not None}, model=self._model)
        return BatchRequest(prompt=question.prompt, options=options, key=key, digest=whole, line=question.line, meta=question.meta)


@contextmanager
def open_input(path: str) -> Iterator[IO[bytes]]:
    """Open the file, or stdin for "-". A pipe, which can be read only once, is copied to a temporary file."""
    with click.open_file(path, "rb") as file:
        if file.seekable():
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            yield copy
