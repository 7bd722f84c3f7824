# SPDX-License-Identifier: Apache-2.0
"""Make the result folder of a build step atomically, and only once for the same inputs.

A result is made in ``NAME.partial`` and renamed when it is complete. Its stamp, ``stage.json``, records the inputs, the
files, and facts found on the way. A build that is killed at any moment leaves at most a partial folder; if that was
complete, the next build moves it into place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from budgetforce.errors import ConfigError

STAMP = "stage.json"
BEGUN = ".begun"  # file in a partial folder with the digest of its inputs


class BuildFailed(ConfigError):
    """A step has failed; once the operator has fixed the cause, the same command continues from there."""

    code: ClassVar[str] = "BUILD"


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Lock a work folder, so that only one build runs in it; the lock ends with the process.

    Raises BuildFailed if another build runs, or if the folder cannot be written.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / ".lock").open("w")
    except OSError as error:
        raise BuildFailed(f"{work} cannot be written by user {os.getuid()}: {error.strerror}") from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BuildFailed(f"another build runs in {work}: wait for it, or choose another --work") from None
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step with one folder as its result.

    Attributes:
        inputs: everything that the result depends on, as JSON values.
        resumable: whether the partial result of a killed run with the same inputs is continued instead of removed.
    """

    name: str
    folder: Path
    inputs: Mapping[str, Any]
    resumable: bool = False

    @property
    def digest(self) -> str:
        """Digest of the inputs, to recognise them again."""
        return digest_of(self.inputs)

    @property
    def partial(self) -> Path:
        """Folder in which the result is made."""
        return self.folder.with_name(f"{self.folder.name}.partial")

    def stamp(self) -> dict[str, Any] | None:
        """Return the stamp of the finished result; None if there is none for these inputs, or a file has changed its size."""
        if self._stamp_in(self.folder) is None and self._stamp_in(self.partial) is not None:
            _put_in_place(self.partial, self.folder)  # a run was killed just before this
        return self._stamp_in(self.folder)

    @contextmanager
    def making(self) -> Iterator[Result]:
        """Yield a folder to fill; it is moved into place afterwards, or removed if an exception comes."""
        if self.partial.exists() and not (self.resumable and self._begun_for() == self.digest):
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True, exist_ok=True)
        write_text(self.partial / BEGUN, self.digest)
        result, started = Result(folder=self.partial), time.time()
        try:
            yield result
        except BaseException:
            if not self.resumable:
                shutil.rmtree(self.partial, ignore_errors=True)
            raise
        self._write_stamp(result, round(time.time() - started, 1))
        (self.partial / BEGUN).unlink()
        _put_in_place(self.partial, self.folder)

    def _begun_for(self) -> str:
        begun = self.partial / BEGUN
        return begun.read_text() if begun.is_file() else ""

    def _write_stamp(self, result: Result, seconds: float) -> None:
        paths = sorted(path for path in self.partial.rglob("*") if path.is_file() and path.name != BEGUN)
        files = {str(path.relative_to(self.partial)): path.stat().st_size for path in paths}
        stamp = {
            "stage": self.name,
            "digest": self.digest,
            "seconds": seconds,
            "inputs": self.inputs,
            "found": result.found,
            "files": files,
        }
        write_text(self.partial / STAMP, json.dumps(stamp, indent=1))

    def _stamp_in(self, folder: Path) -> dict[str, Any] | None:
        try:
            stamp: dict[str, Any] = json.loads((folder / STAMP).read_text())
            sizes = {name: (folder / name).stat().st_size for name in stamp["files"]}
        except (OSError, ValueError, KeyError):
            return None
        return stamp if stamp["digest"] == self.digest and sizes == stamp["files"] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result that is being made.

    Attributes:
        found: facts found on the way, for the stamp.
    """

    folder: Path
    found: dict[str, Any] = field(default_factory=dict)


def digest_of(inputs: Mapping[str, Any]) -> str:
    """Return a digest that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file that is whole or absent, whenever the process is killed."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    scratch.replace(path)


def _put_in_place(partial: Path, folder: Path) -> None:
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
