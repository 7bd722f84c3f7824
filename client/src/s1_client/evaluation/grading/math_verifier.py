# SPDX-License-Identifier: Apache-2.0
"""Whether two formulas are the same, by math-verify, in a process of its own.

Its own limit of time is an alarm signal, which works in the main thread only and waits for arithmetic to come back: a
tower of powers never does. A process can be ended from any thread, and has a limit of memory.
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
_START_LIMIT_S = 120.0  # sympy is large, and a machine may be slow
READY = "ready"
PACKAGE = "math_verify"
_COMMAND = (sys.executable, "-m", "s1_client.evaluation.grading.math_worker")
_log = logging.getLogger(__name__)


class MissingPackage(ImportError):
    """A kind of grading needs a package that is not installed."""


def check() -> None:
    """Raise MissingPackage if math-verify is not there."""
    if find_spec(PACKAGE) is None:
        raise MissingPackage(f"grading math needs package math-verify: {how_to_install('eval')}")


class Verifier:
    """Answers one question after the other, for any number of threads.

    Args:
        limit_s: for one; a formula that takes longer is taken for wrong, and that is logged as a warning.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._said: SimpleQueue[str] = SimpleQueue()

    def is_same(self, reference: str, answer: str) -> bool:
        """Whether the final formula of ``answer`` is that of ``reference``. Raises MissingPackage."""
        if reference.strip() == answer.strip():
            return True
        check()
        with self._lock:
            return self._asked(json.dumps([reference, answer]))

    def _asked(self, line: str) -> bool:
        process = self._running()
        try:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            said = self._said.get(timeout=self._limit_s)
        except (Empty, OSError):
            said = ""
        if not said:
            _log.warning("math-verify came to no end within %g s or its memory, which counts as wrong: %s", self._limit_s, line[:200])
            self._end()
        return said == "true\n"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._said = SimpleQueue()
            self._process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            threading.Thread(target=_read, args=(self._process, self._said), name="s1-math", daemon=True).start()
            self._await_ready()
        return self._process

    def _await_ready(self) -> None:
        try:
            said = self._said.get(timeout=_START_LIMIT_S)
        except Empty:
            said = ""
        if said != f"{READY}\n":
            self._end()
            raise MissingPackage(f"math-verify does not start; {' '.join(_COMMAND)} says why")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # what the process did not read any more
                self._process.stdin.close()
            self._process = None

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()


def _read(process: subprocess.Popen[str], said: SimpleQueue[str]) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            said.put(line)
    said.put("")
