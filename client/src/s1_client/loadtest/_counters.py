# SPDX-License-Identifier: Apache-2.0
"""Read the counters and gauges of servers' /metrics (Prometheus text); compute increments of counters and ranges of gauges."""

from __future__ import annotations

import http.client
import re
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from statistics import fmean
from types import TracebackType

from s1_client.loadtest._record import GaugeRange

_TIMEOUT_S = 5.0
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is in this network: bypass any proxy
_TYPE, _SAMPLE = re.compile(r"# TYPE (\w+) (\w+)"), re.compile(r"(\w+)(\{.*\})? (\S+)")
_PART = re.compile(r"_(sum|count|bucket)$")  # of a histogram
_PERIOD_S = 0.25  # s1 updates its gauges that often
_CPU = "nv_cpu_utilization"  # a share, 0 to 1
_GAUGES = ("s1_", _CPU)  # beginnings of the names that are kept


def read_counters(urls: Sequence[str]) -> dict[str, float] | None:
    """Return all counters at the URLs, see ``counters_in``, summed over the URLs; None without a URL.

    Raises OSError, also for a malformed URL.
    """
    return _summed(counters_in(_text_at(url)) for url in urls) if urls else None


def counters_in(text: str) -> dict[str, float]:
    """Return the counters, and the sums and counts of histograms, in a Prometheus text, by name and labels."""
    return _samples(text, lambda kind, name: kind == "counter" or (kind == "histogram" and not name.endswith("_bucket")))


def gauges_in(text: str) -> dict[str, float]:
    """Return the gauges of interest in a Prometheus text, by name and labels."""
    return _samples(text, lambda kind, name: kind == "gauge" and name.startswith(_GAUGES))


def combined(readings: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the gauges of several servers, each summed; of the CPU use, a share of each machine, that of the busiest."""
    busiest = max((reading[_CPU] for reading in readings if _CPU in reading), default=None)
    return _summed(readings) | ({} if busiest is None else {_CPU: busiest})


def counter_deltas(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    """Return the increment of each counter between two readings; unchanged counters are left out."""
    if before is None or after is None:
        return None
    added = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in added.items() if value}


class GaugeWatch:
    """Reads the gauges at the URLs every ``_PERIOD_S`` within its ``with`` block, in a thread of its own."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="s1-gauges", daemon=True)
        self._readings: list[dict[str, float]] = []

    def __enter__(self) -> GaugeWatch:
        if self._urls:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        if self._urls:
            self._thread.join()

    def ranges(self) -> dict[str, GaugeRange] | None:
        """Return each gauge's range, a sum over the URLs, of the CPU use that of the busiest; None if no reading succeeded."""
        names = dict.fromkeys(name for reading in self._readings for name in reading)
        values = {name: [reading[name] for reading in self._readings if name in reading] for name in names}
        return {name: GaugeRange(mean=fmean(found), highest=max(found), num=len(found)) for name, found in values.items()} or None

    def _run(self) -> None:
        while not self._is_over.wait(_PERIOD_S):
            with suppress(OSError):  # a server under load, or one that has gone: the other readings count
                self._readings.append(combined([gauges_in(_text_at(url)) for url in self._urls]))


def _text_at(url: str) -> str:
    try:
        with _HTTP.open(url, timeout=_TIMEOUT_S) as response:
            return str(response.read().decode())
    # ValueError: no URL, an impossible host name (UnicodeError), no text
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise OSError(f"the metrics at {url} cannot be read: {str(reason) or type(error).__name__}") from error


def _samples(text: str, is_kept: Callable[[str, str], bool]) -> dict[str, float]:
    """Return the samples of the metrics whose kind and name are kept."""
    kinds: dict[str, str] = {}
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if found := _TYPE.fullmatch(line):
            kinds[found.group(1)] = found.group(2)
        elif sample := _SAMPLE.fullmatch(line):
            name, labels, value = sample.groups()
            if is_kept(kinds.get(name) or kinds.get(_PART.sub("", name), ""), name):
                samples[f"{name}{labels or ''}"] = float(value)
    return samples


def _summed(readings: Iterable[dict[str, float]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for reading in readings:
        total.update(reading)  # adds floats as well
    return dict(total)
