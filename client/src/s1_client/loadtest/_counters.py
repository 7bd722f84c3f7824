# SPDX-License-Identifier: Apache-2.0
"""Counters of a server's /metrics (Prometheus text), and how far they went on."""

from __future__ import annotations

import http.client
import re
import urllib.request

_TIMEOUT_S = 5.0
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for the world outside
_TYPE, _SAMPLE = re.compile(r"# TYPE (\w+) counter"), re.compile(r"(\w+)(\{.*\})? (\S+)")


def read_counters(url: str | None) -> dict[str, float] | None:
    """All counters at http://…/metrics, by name and labels; None without ``url``. Raises OSError, for an address that is none as well."""
    if url is None:
        return None
    try:
        with _HTTP.open(url, timeout=_TIMEOUT_S) as answer:
            return counters_in(answer.read().decode())
    except (ValueError, http.client.HTTPException) as error:  # no URL, a host that cannot be (UnicodeError), no HTTP, no text
        raise OSError(str(error) or type(error).__name__) from error


def counters_in(text: str) -> dict[str, float]:
    """The counters of a text."""
    lines = text.splitlines()
    names = {found.group(1) for line in lines if (found := _TYPE.fullmatch(line))}
    samples = [found.groups() for line in lines if (found := _SAMPLE.fullmatch(line))]
    return {f"{name}{labels or ''}": float(value) for name, labels, value in samples if name in names}


def went_on(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    """What was added to each counter; those that stood still are left out."""
    if before is None or after is None:
        return None
    added = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in added.items() if value}
