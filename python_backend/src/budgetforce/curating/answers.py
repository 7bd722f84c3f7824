# SPDX-License-Identifier: Apache-2.0
"""The replies of costly teachers, kept as JSON Lines: one file for each teacher, appended as replies come.

A run that is killed leaves at most half a last line, which is no reply, and which the next reply cuts off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from budgetforce.building.stage import BuildFailed, digest_of
from budgetforce.curating.teachers.base import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The kept replies in a folder."""

    folder: Path

    def known(self, teacher: Mapping[str, Any]) -> dict[str, Trace]:
        """Return the replies of a teacher by question id. Raises BuildFailed naming a line that is not a reply."""
        path = self._path(teacher)
        if not path.exists():
            return {}
        raw = path.read_bytes()
        raw = raw[: raw.rfind(b"\n") + 1]
        kept = (_trace(line, f"{path}:{number}") for number, line in enumerate(raw.splitlines(), 1))
        return {trace.id: trace for trace in kept if trace.is_final}

    def keep(self, teacher: Mapping[str, Any], trace: Trace) -> None:
        """Append a reply to those of its teacher."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path(teacher).open("a+b") as file:
            _cut_half_line(file)
            file.write(json.dumps(asdict(trace)).encode() + b"\n")

    def _path(self, teacher: Mapping[str, Any]) -> Path:
        return self.folder / f"{teacher['teacher']}-{digest_of(teacher)[:12]}.jsonl"


def _cut_half_line(file: BinaryIO) -> None:
    """Remove what is behind the last line break of a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    if file.read(1) not in (b"", b"\n"):
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _trace(line: bytes, where: str) -> Trace:
    try:
        return Trace(**json.loads(line))
    except (ValueError, TypeError):
        raise BuildFailed(f"{where}: not a kept reply; remove the line, or the file to ask again") from None
