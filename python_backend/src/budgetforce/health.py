# SPDX-License-Identifier: Apache-2.0
"""Check whether a server can answer requests: the health check of the containers.

    python -m budgetforce.health [--http 127.0.0.1:8000] [--metrics 127.0.0.1:8002]

A server is ready if Triton reports ready, the process of ``s1`` lives (gauge ``s1_heartbeat_timestamp_seconds``), its engine
answered the last check (``s1_engine_ready``), and the server is not stopping (``s1_draining``). With transport bls ``s1`` has
neither a heartbeat nor a drain gauge: only Triton's report and the engine's last answer count.

Triton keeps showing the last gauges of a dead process, and until 26.01 reports its model as ready. From 26.03 on the model
itself reports not ready when its engine does not answer, and /v2/health/ready follows; earlier versions do not, so both are
checked. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

TIMEOUT_S = 5.0
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through the proxy of the environment
MAX_SILENCE_S = 15.0  # the heartbeat comes once a second


def why_not_ready(http: str, metrics: str) -> str | None:
    """Return a sentence for the operator, or None if the server at these addresses ("host:port") is ready."""
    try:
        _get(f"http://{http}/v2/health/ready")
        text = _get(f"http://{metrics}/metrics")
    except (urllib.error.URLError, OSError) as error:
        return f"Triton is not ready: {error}"
    if not _gauges(text, "s1_engine_ready"):
        return "no s1 model is loaded"
    oldest = time.time() - MAX_SILENCE_S
    if dead := _labels(text, "s1_heartbeat_timestamp_seconds", lambda at: at < oldest):
        return f"s1 is dead or hangs, its last heartbeat is older than {MAX_SILENCE_S:g} s: {dead}"
    if stopping := _labels(text, "s1_draining", bool):
        return f"the server is stopping: {stopping}"
    if silent := _labels(text, "s1_engine_ready", lambda is_ready: not is_ready):
        return f"the engine does not answer: {silent}"
    return None


def _labels(text: str, name: str, is_wrong: Callable[[float], bool]) -> str:
    """Return the labels of the gauges of that name with a wrong value; empty if there are none."""
    return ", ".join(labels for labels, value in _gauges(text, name) if is_wrong(value))


def _gauges(text: str, name: str) -> list[tuple[str, float]]:
    """Parse labels and value of each gauge of that name from Prometheus' text format."""
    found = [line.rpartition(" ") for line in text.splitlines() if line.startswith(f"{name}{{")]
    return [(before.removeprefix(name), float(value)) for before, _, value in found]


def _get(url: str) -> str:
    with HTTP.open(url, timeout=TIMEOUT_S) as response:
        return str(response.read().decode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if the server is ready, else print the reason and return 1."""
    parser = argparse.ArgumentParser(
        prog="python -m budgetforce.health", description="Check whether the server is ready: exit code 0, or 1 with the reason."
    )
    parser.add_argument("--http", default="127.0.0.1:8000", help="Triton's HTTP address (default: %(default)s)")
    parser.add_argument("--metrics", default="127.0.0.1:8002", help="Triton's metrics address (default: %(default)s)")
    options = parser.parse_args(arguments)
    reason = why_not_ready(options.http, options.metrics)
    if reason is not None:
        print(reason, file=sys.stderr)
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
