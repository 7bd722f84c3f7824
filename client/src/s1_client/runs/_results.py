# SPDX-License-Identifier: Apache-2.0
"""The file of results: a line of JSON for each request that ended, and each id on one line only.

A run may be killed at any moment. The next run treats the lines that it finds as follows:

    a reply                   the request is not sent again
    an error                  the request is sent again, and the line is removed
    an incomplete last line   left by a run that was killed; it is removed
    a blank line              it is removed

New lines are appended. To remove lines, the file is written anew beside the old one and put in its place.
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

from s1_client import Outcome, S1Error
from s1_client._jsonl import is_whole, lines_of, read_json
from s1_client.runs._errors import Refused
from s1_client.runs._requests import BatchRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLine:
    """The part of a line of results that the next run needs."""

    key: str
    digest: str
    has_failed: bool

    @classmethod
    def of(cls, raw: bytes) -> ResultLine:
        """Parse a line of the file. Raises ValueError if it is no line of results."""
        data = _entry(raw)
        return cls(key=str(data["id"]), digest=str(data.get("request")), has_failed="error" in data)


def _entry(raw: bytes) -> dict[str, Any]:
    data = read_json(raw, is_log=True)
    if not isinstance(data, dict) or "id" not in data or ("reply" in data) == ("error" in data):
        raise ValueError("no id, or not exactly one of 'reply' and 'error'")
    return data


class Results:
    """An open file of results, locked against other writers. Keeps the ids in memory, not the lines.

    Attributes:
        path: path of the file.
        is_torn: whether the last line was incomplete.
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
            line = self._parse(number, raw)
            if line is None:
                self.is_torn = True
            elif line.has_failed:
                self._failed.add(line.key)
            else:
                self._done.setdefault(line.key, line.digest)
        self._failed -= self._done.keys()
        self._has_waste = number > len(self._done) + len(self._failed)

    def _parse(self, number: int, raw: bytes) -> ResultLine | None:
        """Return the line; None for an incomplete last line. Raises Refused for any other line."""
        try:
            return ResultLine.of(raw)
        except ValueError as error:
            if is_whole(raw):
                hint = "give another file, or --overwrite to begin anew"
                raise Refused(f"{self.path}:{number}: not a line of results ({error}); {hint}") from None
            return None

    def has_reply(self, request: BatchRequest, where: str) -> bool:
        """Whether the request has a reply. Raises Refused if the reply is to another request; ``where`` is the line of the input."""
        digest = self._done.get(str(request.key))
        if digest not in (None, request.digest):
            raise Refused(
                f"{where}: id {request.key!r} is in {self.path} already, with the reply to another request: its prompt, an option, "
                "a default or the model was different; give another file, or --overwrite to begin anew"
            )
        return digest is not None

    def has_error(self, request: BatchRequest) -> bool:
        """Whether the request failed in an earlier run."""
        return str(request.key) in self._failed

    def prepare(self, again: Collection[str]) -> None:
        """Remove incomplete and duplicate lines, and the errors of the requests that are sent ``again`` (ids)."""
        if self._overwrite:
            self._file.truncate(0)
        elif again or self._has_waste or not _ends_whole(self._file):
            self._file = _replaced(self.path.resolve(), self._file, self._kept(again))

    def _kept(self, again: Collection[str]) -> Iterator[bytes]:
        written: set[str] = set()
        for number, raw in lines_of(self._file):
            line = self._parse(number, raw)
            if line is None or line.key in written or (line.has_failed and (line.key in again or line.key in self._done)):
                continue
            written.add(line.key)
            yield raw.strip() + b"\n"

    def write(self, outcome: Outcome) -> None:
        """Append the result of a request, which must be a BatchRequest."""
        assert isinstance(outcome.request, BatchRequest)
        self.append(result_line(outcome.request, _result_of(outcome)))

    def append(self, line: bytes) -> None:
        """Append a line and flush it to the operating system, so that a killed process loses none."""
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        """Close the file, which releases its lock."""
        self._file.close()


@contextmanager
def open_results(path: Path, *, overwrite: bool = False) -> Iterator[Results]:
    """Open or create a file of results. Raises Refused if it is no file of results, or another run writes it.

    With ``overwrite``, ``Results.prepare`` empties the file; until then its lines stay.
    """
    if path.exists() and not path.is_file():
        raise Refused(f"{path}: not a file; a run that continues reads its results again")
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
    """Yield the lines of a file of results, without an incomplete last line, which another run may be writing.

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


def result_line(request: BatchRequest, result: Mapping[str, Any]) -> bytes:
    """Return the line of results of a request; ``result`` has a "reply" or an "error"."""
    entry = {"id": request.key, "line": request.line, "request": request.digest}
    if request.meta is not None:
        entry["meta"] = request.meta
    text = json.dumps({**entry, **result}, ensure_ascii=False, default=dict)
    return text.encode(errors="backslashreplace") + b"\n"


def _result_of(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    if isinstance(error, S1Error):
        return {"error": error.to_dict(), "partial": [asdict(sample) for sample in error.partial], "so_far": list(error.so_far)}
    if error is not None:
        return {"error": {"error": type(error).__name__, "message": str(error), "retryable": False, "request_id": None, "num_attempts": 0}}
    first, *others = (reply.to_dict() for reply in outcome.replies)
    return {"reply": first, "other_replies": others} if others else {"reply": first}


def _ends_whole(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    return size == 0 or is_whole(file.read())


def _locked(path: Path) -> BinaryIO:
    """Open the file for appending and lock it. Another run may replace the file before the lock is held; then try again."""
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            file.close()
            raise Refused(f"{path}: another run is writing it; wait for its end, or give another file") from None
        file.close()


def _replaced(path: Path, old: BinaryIO, lines: Iterator[bytes]) -> BinaryIO:
    """Replace the file with these lines, and return it open and locked. A process that is killed meanwhile leaves the old file.

    ``path`` must not be a symbolic link, which would be replaced itself.
    """
    beside = path.with_name(f"{path.name}.new")
    with ExitStack() as on_failure:
        new = on_failure.enter_context(beside.open("a+b"))
        fcntl.flock(new, fcntl.LOCK_EX)  # before it takes the path, so that no other run can lock it first
        new.truncate(0)
        new.writelines(lines)
        new.flush()
        os.fsync(new.fileno())
        beside.replace(path)
        on_failure.pop_all()
    old.close()
    return new
