# SPDX-License-Identifier: Apache-2.0
"""Starts the receiver of spans (tests/server/otlp_receiver.py) as a process, and reads what it has received."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parent.parent / "server" / "otlp_receiver.py"


@dataclass(frozen=True)
class Receiver:
    """A receiver at ``url``; spans have the keys that ``otlp_receiver.spans_in`` describes."""

    url: str
    file: Path
    process: subprocess.Popen[str]

    def spans(self) -> list[dict[str, Any]]:
        whole, _, _ = (self.file.read_text() if self.file.exists() else "").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def fall_silent(self) -> None:
        """Take messages from now on, and answer none."""
        self.file.with_suffix(".silent").touch()

    def holds_a_message(self) -> bool:
        """Whether a message waits for its answer."""
        return self.file.with_suffix(".held").exists()

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        return [span for span in self.spans() if span["traceId"] == trace_id]


@contextlib.contextmanager
def receiver(file: Path) -> Iterator[Receiver]:
    """A receiver until the end of the block."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Receiver(f"http://127.0.0.1:{int(process.stdout.readline())}/v1/traces", file, process)
    finally:
        process.kill()
        process.communicate()
