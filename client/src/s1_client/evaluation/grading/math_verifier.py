# SPDX-License-Identifier: Apache-2.0
"""Compare two formulas by math-verify in a separate process.

math-verify's own timeout is an alarm signal: it works only in the main thread and waits until arithmetic returns, which a
tower of powers never does. A process can be killed from any thread, and its memory can be limited.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
from importlib.util import find_spec
from queue import Empty, SimpleQueue

from s1_client._suggest import how_to_install

LIMIT_S = 10.0
_START_LIMIT_S = 120.0  # importing sympy takes long on a slow machine
READY = "ready"
PACKAGE = "math_verify"
_COMMAND = (sys.executable, "-m", "s1_client.evaluation.grading.math_worker")
_log = logging.getLogger(__name__)


class MissingPackage(ImportError):
    """A kind of grading needs a package that is not installed."""


def check() -> None:
    """Raise MissingPackage if math-verify is not installed."""
    if find_spec(PACKAGE) is None:
        raise MissingPackage(f"grading math needs package math-verify: {how_to_install('eval')}")


class Verifier:
    """Compares formulas one pair at a time; any number of threads may call it.

    Args:
        limit_s: time limit of a comparison; a formula that exceeds it counts as wrong, with a warning in the log.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str] = SimpleQueue()

    def is_same(self, reference: str, answer: str) -> bool:
        """Return whether the final formula of ``answer`` equals that of ``reference``. Raises MissingPackage."""
        if reference.strip() == answer.strip():
            return True
        check()
        with self._lock:
            return self._verdict(json.dumps([reference, answer]))

    def _verdict(self, line: str) -> bool:
        process = self._running()
        try:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            line_read = self._lines.get(timeout=self._limit_s)
        except (Empty, OSError):
            line_read = ""
        if not line_read:
            _log.warning("math-verify exceeded %g s or its memory limit, so the answer counts as wrong: %s", self._limit_s, line[:200])
            self._end()
        return line_read == "true\n"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._lines = SimpleQueue()
            self._process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            threading.Thread(target=_read, args=(self._process, self._lines), name="s1-math", daemon=True).start()
            self._await_ready()
        return self._process

    def _await_ready(self) -> None:
        try:
            line_read = self._lines.get(timeout=_START_LIMIT_S)
        except Empty:
            line_read = ""
        if line_read != f"{READY}\n":
            self._end()
            raise MissingPackage(f"math-verify does not start; run {' '.join(_COMMAND)} to see the error")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # the dead process has unread input
                self._process.stdin.close()
            self._process = None

    def close(self) -> None:
        """End the process; the next comparison starts another."""
        with self._lock:
            self._end()


def _read(process: subprocess.Popen[str], line_read: SimpleQueue[str]) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            line_read.put(line)
    line_read.put("")
