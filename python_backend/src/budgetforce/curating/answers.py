# SPDX-License-Identifier: Apache-2.0
"""The replies of costly teachers, kept as JSON Lines: one file for each teacher, appended as replies come.

A run that is killed leaves at most half a last line, which the next run cuts off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
        if not raw.endswith(b"\n"):
            raw = raw[: raw.rfind(b"\n") + 1]
            os.truncate(path, len(raw))
        return {trace.id: trace for trace in (_trace(line, f"{path}:{number}") for number, line in enumerate(raw.splitlines(), 1))}

    def keep(self, teacher: Mapping[str, Any], trace: Trace) -> None:
        """Append a reply to those of its teacher."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path(teacher).open("ab") as file:
            file.write(json.dumps(asdict(trace)).encode() + b"\n")

    def _path(self, teacher: Mapping[str, Any]) -> Path:
        return self.folder / f"{teacher['teacher']}-{digest_of(teacher)[:12]}.jsonl"


def _trace(line: bytes, where: str) -> Trace:
    try:
        return Trace(**json.loads(line))
    except (ValueError, TypeError):
        raise BuildFailed(f"{where}: not a kept reply; remove the line, or the file to ask again") from None
