# SPDX-License-Identifier: Apache-2.0
"""Whether a server can answer: for a container's health check.

    python -m budgetforce.health [--http 127.0.0.1:8000] [--metrics 127.0.0.1:8002]

Ready is: Triton says so, ``s1``'s process lives (gauge ``s1_heartbeat_timestamp_seconds``), its engine
answered when it was last asked (``s1_engine_ready``), and the server is not about to stop (``s1_draining``).
With transport bls ``s1`` has no heartbeat and no sign that it is to stop: only Triton's word and the engine's last answer count.
Triton goes on showing the last gauges of a process that is dead, and until 26.01 says that its model is
ready. From 26.03 on the model itself says not ready when the engine does not answer, and /v2/health/ready
follows; before, it does not, so this asks for both. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

TIMEOUT_S = 5.0
MAX_SILENCE_S = 15.0  # the heart beats once a second


def why_not_ready(http: str, metrics: str) -> str | None:
    """A sentence for the operator; None if the server at these addresses ("host:port") is ready."""
    try:
        _get(f"http://{http}/v2/health/ready")
        text = _get(f"http://{metrics}/metrics")
    except (urllib.error.URLError, OSError) as error:
        return f"Triton is not ready: {error}"
    if not _gauges(text, "s1_engine_ready"):
        return "no s1 model is loaded"
    oldest = time.time() - MAX_SILENCE_S
    if dead := _labels(text, "s1_heartbeat_timestamp_seconds", lambda at: at < oldest):
        return f"s1 is dead or hangs, it has shown no sign of life for {MAX_SILENCE_S:g} s: {dead}"
    if stopping := _labels(text, "s1_draining", bool):
        return f"the server is stopping: {stopping}"
    if silent := _labels(text, "s1_engine_ready", lambda is_ready: not is_ready):
        return f"the engine does not answer: {silent}"
    return None


def _labels(text: str, name: str, is_wrong: Callable[[float], bool]) -> str:
    """The labels of those gauges of that name whose value is wrong; empty if none is."""
    return ", ".join(labels for labels, value in _gauges(text, name) if is_wrong(value))


def _gauges(text: str, name: str) -> list[tuple[str, float]]:
    """Labels and value of each gauge of that name in Prometheus' text format."""
    found = [line.rpartition(" ") for line in text.splitlines() if line.startswith(f"{name}{{")]
    return [(before.removeprefix(name), float(value)) for before, _, value in found]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310  # http by construction
        return str(response.read().decode())


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if it is ready, else 1 and the reason."""
    parser = argparse.ArgumentParser(prog="python -m budgetforce.health", description="Is the server ready?")
    parser.add_argument("--http", default="127.0.0.1:8000", help="Triton's HTTP address (default: %(default)s)")
    parser.add_argument("--metrics", default="127.0.0.1:8002", help="and its metrics (default: %(default)s)")
    options = parser.parse_args(arguments)
    reason = why_not_ready(options.http, options.metrics)
    if reason is not None:
        print(reason, file=sys.stderr)
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
