# SPDX-License-Identifier: Apache-2.0
"""Drain a server: make ``s1`` announce its stop, reject new requests, and let running ones finish.

This comes before the signal to Triton: once that has come, Triton rejects the engine calls of its own models, so that a reply of several
engine calls could not finish, and yet it waits for running replies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from budgetforce.config import ANNOUNCE

DRAIN_END_S = 3.0  # for s1 to end the replies that still run after the drain
CHECK_S, QUIET_CHECKS = 0.3, 2  # seconds; metrics lag by up to 0.25 s
OPEN_REQUESTS = ("s1_requests_open{", 'nv_inference_pending_request_count{model="s1')


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The drain of one server.

    Attributes:
        order_file: where ``s1`` finds its orders.
        read_metrics: returns the server's metrics in Prometheus' format, or raises an exception.
        has_ended: whether the server has ended, which ends the drain.
    """

    order_file: Path
    read_metrics: Callable[[], str]
    has_ended: Callable[[], bool]

    def run(self, drain_s: float, lame_duck_s: float) -> None:
        """Return when no request is open, or when time is over.

        ``lame_duck_s``: seconds in which the drain is announced and new requests are still served; ``drain_s``: seconds after that until
        ``s1`` ends the requests that still run.
        """
        try:
            if lame_duck_s:
                self.order_file.write_text(f"{ANNOUNCE}\n")
                self._wait(lame_duck_s, num_checks=None)
            self.order_file.write_text(f"{drain_s:g}\n")
        except OSError:
            return  # s1 cannot be reached this way; stopping goes on
        self._wait(drain_s + DRAIN_END_S, num_checks=QUIET_CHECKS)

    def _wait(self, seconds: float, *, num_checks: int | None) -> None:
        """Wait for ``seconds``, until the server has ended, or until so many checks in a row were quiet (None = no checks)."""
        until, num_quiet = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0 and not self.has_ended() and num_quiet != num_checks:
            time.sleep(min(CHECK_S, left))
            if num_checks is not None:
                num_quiet = num_quiet + 1 if self._is_quiet() else 0

    def _is_quiet(self) -> bool:
        """Whether every ``s1`` rejects new requests and none is open, by the metrics. False if they cannot be read."""
        try:
            lines = self.read_metrics().splitlines()
            num_open = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(OPEN_REQUESTS))
            return num_open == 0 and all(float(line.rpartition(" ")[2]) == 2 for line in lines if line.startswith("s1_draining{"))
        except Exception:  # noqa: BLE001  # a busy server may miss one check; the next may succeed
            return False
