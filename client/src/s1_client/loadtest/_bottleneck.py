# SPDX-License-Identifier: Apache-2.0
"""What limits the capacity: evidence from the level at which the objective failed, compared with the least load.

Each kind is a statement about measured values, not a proof: several may apply. Gauges and histograms come from the server's
/metrics; without them only the client's own times remain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from s1_client.loadtest._judgement import REJECTED
from s1_client.loadtest._metric_definitions import METRICS, values_of
from s1_client.loadtest._record import Level

Kind = Literal["queue", "places", "kv", "engine", "orchestration", "cpu", "driver", "unknown"]
NEARLY_FULL = 0.9  # share of the KV tokens from which the next reply may not fit
SLOWER = 1.25  # factor of the inter-token latency that is more than noise
LATER, IDLE_QUEUE = 2.0, 0.2  # factor of the time to first token, likewise; share of that growth that s1's queue may have
MUCH_ORCHESTRATION, BUSY = 0.2, 0.9  # shares of the replies' time, and of the machine's CPU
FEWEST_READINGS = 3  # of a gauge, or the level is too short to tell
LATE_MS = 20.0  # of the driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Evidence of what limits the capacity: its kind, and a sentence with the measured values."""

    kind: Kind
    evidence: str


def limits(baseline: Level, level: Level, model: str) -> tuple[Limit, ...]:
    """Return what limits ``level``, the likeliest first; ``baseline`` is the level of the least load."""
    found = [*_admission(level, model), *_engine(baseline, level, model), *_outside_the_engine(level, model), *_driver(level)]
    if not found:
        found.append(Limit(kind="unknown", evidence="no measured value stands out"))
    return (*found, *_blind_spots(level))


def _blind_spots(level: Level) -> Iterator[Limit]:
    num = max((gauge.num for gauge in (level.gauges or {}).values()), default=0)
    if level.server is None:
        text = "the server's metrics were not read (--metrics-url)"
    elif num < FEWEST_READINGS:
        text = f"the level was too short to watch the server's gauges ({num} readings; --requests makes it longer)"
    else:
        return
    yield Limit(kind="unknown", evidence=f"{text}: its queue, places, KV cache and CPU are unknown")


def _admission(level: Level, model: str) -> Iterator[Limit]:
    num_rejected = sum(request.end == REJECTED for request in level.requests)
    waiting, most_waiting = _highest(level, "s1_requests_waiting", model), _highest(level, "s1_requests_waiting_max", model)
    if num_rejected:
        queue = f"; up to {waiting:g} of {most_waiting:g} requests waited (s1_requests_waiting)" if waiting and most_waiting else ""
        yield Limit(kind="queue", evidence=f"{num_rejected} of {len(level.requests)} requests were rejected{queue}")
    if not waiting:
        return
    running, most_running = _highest(level, "s1_replies_running", model), _highest(level, "s1_replies_max", model)
    if running and most_running and running >= most_running:
        text = f"s1_replies_running reached s1_replies_max, {most_running:g}, and up to {waiting:g} requests waited for a place"
        yield Limit(kind="places", evidence=text)
    reserved, most_reserved = _highest(level, "s1_kv_tokens_reserved", model), _highest(level, "s1_kv_tokens_max", model)
    if reserved and most_reserved and reserved >= NEARLY_FULL * most_reserved:
        text = f"s1_kv_tokens_reserved reached {reserved:g} of {most_reserved:g}, and up to {waiting:g} requests waited for room"
        yield Limit(kind="kv", evidence=text)


def _engine(baseline: Level, level: Level, model: str) -> Iterator[Limit]:
    slow, slower = _inter_token_ms(baseline), _inter_token_ms(level)
    if slow and slower and slower >= SLOWER * slow:
        text = f"the median inter-token latency grew from {slow:.1f} ms at the least load to {slower:.1f} ms"
        yield Limit(kind="engine", evidence=text)
    first, later, queued = _first_token_ms(baseline), _first_token_ms(level), _mean_ms(level, "s1_queue_seconds", model)
    if first and later and queued is not None and later >= LATER * first and queued <= IDLE_QUEUE * (later - first):
        text = (
            f"the median time to first token grew from {first:.0f} ms at the least load to {later:.0f} ms, of which s1's queue is "
            f"{queued:.0f} ms (mean, s1_queue_seconds): calls wait or are prefilled in the engine"
        )
        yield Limit(kind="engine", evidence=text)


def _outside_the_engine(level: Level, model: str) -> Iterator[Limit]:
    outside, whole = (_added(level, f"s1_{name}_seconds_sum", model) for name in ("orchestration", "request_duration"))
    if whole and outside / whole >= MUCH_ORCHESTRATION:
        text = f"{100 * outside / whole:.0f}% of the replies' time passed outside queue and engine (s1_orchestration_seconds)"
        yield Limit(kind="orchestration", evidence=text)
    cpu = (level.gauges or {}).get("nv_cpu_utilization")
    if cpu and cpu.num >= FEWEST_READINGS and cpu.mean >= BUSY:
        yield Limit(kind="cpu", evidence=f"the CPUs of the server's machine were {100 * cpu.mean:.0f}% busy (nv_cpu_utilization)")


def _driver(level: Level) -> Iterator[Limit]:
    late_ms = median([(request.sent_s - request.start_s) * 1e3 for request in level.requests] or [0.0])
    if late_ms >= LATE_MS:
        text = f"half of the requests were sent {late_ms:.0f} ms late or more: the machine of the load test is too slow for this load"
        yield Limit(kind="driver", evidence=text)


def _highest(level: Level, name: str, model: str) -> float | None:
    """Return the highest value of the model's gauge, summed over its processes; None if it was read too seldom."""
    found = [gauge.highest for key, gauge in (level.gauges or {}).items() if gauge.num >= FEWEST_READINGS and _is_of(key, name, model)]
    return sum(found) if found else None


def _added(level: Level, name: str, model: str) -> float:
    return sum(value for key, value in (level.server or {}).items() if _is_of(key, name, model))


def _mean_ms(level: Level, histogram: str, model: str) -> float | None:
    num = _added(level, f"{histogram}_count", model)
    return _added(level, f"{histogram}_sum", model) / num * 1e3 if num else None


def _is_of(key: str, name: str, model: str) -> bool:
    """Return whether a sample, such as ``s1_requests_open{model_instance="s1_0_0"}``, belongs to the metric and the model."""
    metric, _, labels = key.partition("{")
    _, _, instance = labels.partition('model_instance="')
    return metric == name and instance.partition('"')[0].rsplit("_", 2)[0] == model


def _inter_token_ms(level: Level) -> float | None:
    names = ("inter_token_latency_thinking_ms", "inter_token_latency_answer_ms")
    return _median([value for name in names for value in values_of(level.done, METRICS[name])])


def _first_token_ms(level: Level) -> float | None:
    return _median(values_of(level.done, METRICS["time_to_first_token_ms"]))


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
