# SPDX-License-Identifier: Apache-2.0
"""Whether a server can answer: for a container's health check.

    python -m budgetforce.health [--http 127.0.0.1:8000] [--metrics 127.0.0.1:8002]

Ready is: Triton says so, and ``s1``'s engine answered when it was last asked (gauge
``s1_engine_ready``). From Triton 26.03 on the model itself says not ready then, and
/v2/health/ready follows; before, it does not, so this asks for both. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

TIMEOUT_S = 5.0


def why_not_ready(http: str, metrics: str) -> str | None:
    """A sentence for the operator; None if the server at these addresses ("host:port") is ready."""
    try:
        _get(f"http://{http}/v2/health/ready")
        gauges = [line for line in _get(f"http://{metrics}/metrics").splitlines() if line.startswith("s1_engine_ready{")]
    except (urllib.error.URLError, OSError) as error:
        return f"Triton is not ready: {error}"
    silent = [line for line in gauges if float(line.rpartition(" ")[2]) == 0]
    if not gauges:
        return "no s1 model is loaded"
    return f"the engine does not answer: {silent[0]}" if silent else None


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
