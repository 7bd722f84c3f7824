# SPDX-License-Identifier: Apache-2.0
"""Read the counters of a server's /metrics (Prometheus text) and compute their increments."""

from __future__ import annotations

import http.client
import re
import urllib.request

_TIMEOUT_S = 5.0
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is in this network: bypass any proxy
_TYPE, _SAMPLE = re.compile(r"# TYPE (\w+) counter"), re.compile(r"(\w+)(\{.*\})? (\S+)")


def read_counters(url: str | None) -> dict[str, float] | None:
    """Return all counters at ``url``, by name and labels; None without a URL. Raises OSError, also for a malformed URL."""
    if url is None:
        return None
    try:
        with _HTTP.open(url, timeout=_TIMEOUT_S) as response:
            return counters_in(response.read().decode())
    except (ValueError, http.client.HTTPException) as error:  # no URL, an impossible host name (UnicodeError), no HTTP, no text
        raise OSError(str(error) or type(error).__name__) from error


def counters_in(text: str) -> dict[str, float]:
    """Return the counters in a Prometheus text, by name and labels."""
    lines = text.splitlines()
    names = {found.group(1) for line in lines if (found := _TYPE.fullmatch(line))}
    samples = [found.groups() for line in lines if (found := _SAMPLE.fullmatch(line))]
    return {f"{name}{labels or ''}": float(value) for name, labels, value in samples if name in names}


def counter_deltas(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    """Return the increment of each counter between two readings; unchanged counters are left out."""
    if before is None or after is None:
        return None
    added = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in added.items() if value}
