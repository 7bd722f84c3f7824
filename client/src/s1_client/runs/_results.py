# SPDX-License-Identifier: Apache-2.0
"""The file of results: a line of JSON for each request that ended, and each id in one line only.

It is the memory of a run that may be killed at any moment. What the next run finds there:

    a reply         the request is not asked again
    an error        it is, and this line goes away
    half a line     the last one, torn when the run was killed: goes away
    a blank line    as well

Lines are appended. A file from which lines have to go is written anew beside it and put in its place.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from s1_client import Outcome, S1Error
from s1_client._jsonl import is_whole, lines_of, read_json
from s1_client.cli.request_file import Asked


class Refused(click.ClickException):
    """What the command was asked for cannot be done as it stands; the message says what can."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A line of results, as far as a new run wants to know it."""

    key: str
    digest: str
    has_failed: bool

    @classmethod
    def of(cls, raw: bytes) -> Past:
        """Read it. Raises ValueError for a line that is none."""
        data = _entry(raw)
        return cls(key=str(data["id"]), digest=str(data.get("request")), has_failed="error" in data)


def _entry(raw: bytes) -> dict[str, Any]:
    data = read_json(raw, is_log=True)
    if not isinstance(data, dict) or "id" not in data or ("reply" in data) == ("error" in data):
        raise ValueError("no id, or not one of 'reply' and 'error'")
    return data


class Results:
    """An open file of results, which nobody else writes meanwhile. Holds the ids, not the lines.

    Attributes:
        path: where it is.
        is_torn: its last line was half a one.
    """

    def __init__(self, path: Path, file: BinaryIO, *, overwrite: bool) -> None:
        self.path = path
        self.is_torn = False
        self._file = file
        self._overwrite = overwrite
        self._done: dict[str, str] = {}
        self._failed: set[str] = set()
        self._has_waste = False
        if not overwrite:
            self._read()

    def _read(self) -> None:
        number = 0
        for number, raw in lines_of(self._file):
            past = self._past(number, raw)
            if past is None:
                self.is_torn = True
            elif past.has_failed:
                self._failed.add(past.key)
            else:
                self._done.setdefault(past.key, past.digest)
        self._failed -= self._done.keys()
        self._has_waste = number > len(self._done) + len(self._failed)

    def _past(self, number: int, raw: bytes) -> Past | None:
        try:
            return Past.of(raw)
        except ValueError as error:
            if is_whole(raw):
                hint = "give another file, or --overwrite to begin anew"
                raise Refused(f"{self.path}:{number}: not a line of results ({error}); {hint}") from None
            return None

    def has_reply(self, asked: Asked, where: str) -> bool:
        """Whether the reply is there. Raises Refused if it was to another request; ``where`` names the line that asks."""
        digest = self._done.get(str(asked.key))
        if digest not in (None, asked.digest):
            raise Refused(
                f"{where}: id {asked.key!r} is in {self.path} already, with the reply to another request: its prompt, an option, "
                "a default or the model was different; give another file, or --overwrite to begin anew"
            )
        return digest is not None

    def has_error(self, asked: Asked) -> bool:
        """Whether it failed."""
        return str(asked.key) in self._failed

    def begin(self, again: Collection[str]) -> None:
        """Make room for new lines: what is torn, is there twice or is asked ``again`` (by id) goes away."""
        if self._overwrite:
            self._file.truncate(0)
        elif again or self._has_waste or not _ends_whole(self._file):
            self._file = _replaced(self.path.resolve(), self._file, self._kept(again))

    def _kept(self, again: Collection[str]) -> Iterator[bytes]:
        written: set[str] = set()
        for number, raw in lines_of(self._file):
            past = self._past(number, raw)
            if past is None or past.key in written or (past.has_failed and (past.key in again or past.key in self._done)):
                continue
            written.add(past.key)
            yield raw.strip() + b"\n"

    def write(self, outcome: Outcome) -> None:
        """Append what came of a request."""
        self.append(line_of(outcome))

    def append(self, line: bytes) -> None:
        """The system has the line then: a process that is killed loses none."""
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        """Let others write."""
        self._file.close()


@contextmanager
def results_at(path: Path, *, overwrite: bool = False) -> Iterator[Results]:
    """Open a file of results, or make it. Raises Refused if it is none, or another run writes it.

    What it holds is overwritten by ``Results.begin``, not before.
    """
    if path.exists() and not path.is_file():
        raise Refused(f"{path}: not a file; results are read again to go on where a run stopped")
    try:
        file = _locked(path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    with file:
        results = Results(path, file, overwrite=overwrite)
        try:
            yield results
        finally:
            results.close()


def entries_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of results, but for a last one that is torn, which another run may write just now.

    Raises Refused if it is no file of results.
    """
    try:
        with path.open("rb") as file:
            for number, raw in lines_of(file):
                try:
                    entry = _entry(raw)
                except ValueError as error:
                    if not is_whole(raw):
                        return
                    raise Refused(f"{path}:{number}: not a line of results ({error})") from None
                yield entry
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def line_of(outcome: Outcome) -> bytes:
    """The line of results of a request that was ``Asked``."""
    asked = outcome.request
    assert isinstance(asked, Asked)
    return line_with(asked, _what_came(outcome))


def line_with(asked: Asked, came: Mapping[str, Any]) -> bytes:
    """The line of results of what was asked, and what came of it: a "reply" or an "error"."""
    entry = {"id": asked.key, "line": asked.line, "request": asked.digest}
    if asked.meta is not None:
        entry["meta"] = asked.meta
    text = json.dumps({**entry, **came}, ensure_ascii=False, default=dict)
    return text.encode(errors="backslashreplace") + b"\n"


def _what_came(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    if isinstance(error, S1Error):
        return {"error": error.to_dict(), "partial": [asdict(one) for one in error.partial], "so_far": list(error.so_far)}
    if error is not None:
        return {"error": {"error": type(error).__name__, "message": str(error), "retryable": False, "request_id": None}}
    first, *others = (reply.to_dict() for reply in outcome.replies)
    return {"reply": first, "other_replies": others} if others else {"reply": first}


def _ends_whole(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    return size == 0 or is_whole(file.read())


def _locked(path: Path) -> BinaryIO:
    """Open for appending, and nobody else may. A run that replaced the file meanwhile is noticed."""
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            file.close()
            raise Refused(f"{path}: another run writes it; wait for its end, or give another file") from None
        file.close()


def _replaced(path: Path, old: BinaryIO, lines: Iterator[bytes]) -> BinaryIO:
    """The file (no link to it, which would go) with these lines instead; a process that is killed meanwhile leaves
    the old one.
    """
    beside = path.with_name(f"{path.name}.new")
    with ExitStack() as on_failure:
        new = on_failure.enter_context(beside.open("a+b"))
        fcntl.flock(new, fcntl.LOCK_EX)  # before it takes the path: nobody gets in between
        new.truncate(0)
        new.writelines(lines)
        new.flush()
        os.fsync(new.fileno())
        beside.replace(path)
        on_failure.pop_all()
    old.close()
    return new
