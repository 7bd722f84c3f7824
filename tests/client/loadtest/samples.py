# SPDX-License-Identifier: Apache-2.0
"""Build records of whole runs with realistic figures."""

from __future__ import annotations

import numpy as np

from client.loadtest import records
from client.loadtest.records import run
from s1_client.loadtest._record import Latencies

__all__ = ["failed", "level", "random_level", "request", "run"]


def request(number=0, **changes):
    """Return a good request: first token after 100 ms, 100 tokens of thinking (5 injected), one refused end, 20 of the answer."""
    made = {
        "start_s": float(number),
        "sent_s": float(number),
        "num_prompt_tokens": 50,
        "num_thinking_tokens": 100,
        "num_injected_tokens": 5,
        "num_answer_tokens": 20,
        "request_latency_ms": 1290.0,
        "time_to_first_token_ms": 100.0,
        "time_to_first_answer_token_ms": 1100.0,
        "inter_token_latencies_ms": Latencies(thinking=(10.0,) * 98, answer=(9.0,) * 19),
        "answer_gap_ms": 25.0,
        "ignore_costs_ms": (20.0,),
        "round_gaps_ms": (1.0, 2.0),
        "num_tokens_recomputed": 12,
    }
    return records.request(**{**made, **changes})


def failed(number=0, end="Overloaded", **changes):
    """Return a request that was rejected after 5 ms."""
    nothing = dict.fromkeys(("time_to_first_token_ms", "time_to_first_answer_token_ms", "thinking_end", "answer_end", "answer_gap_ms"))
    none = dict.fromkeys(("num_thinking_tokens", "num_answer_tokens", "num_injected_tokens"), 0)
    empty = {"inter_token_latencies_ms": Latencies(), "ignore_costs_ms": (), "round_gaps_ms": ()}
    error = {"end": end, "message": "too many requests", "request_latency_ms": 5.0}
    return request(number, **{**nothing, **none, **empty, **error, **changes})


def level(*requests, **changes):
    """Return a level of concurrency 4."""
    return records.level(*requests, **{"value": 4.0, "duration_s": 10.0, **changes})


def random_level(seed, num_requests=200, *, slower=1.0, concurrency=4, **changes):
    """Return a realistic level: the load drifts, so that neighbouring requests are correlated, and each request has noise."""
    random = np.random.default_rng(seed)
    drift = np.convolve(random.normal(0, 0.1, num_requests + concurrency - 1), np.ones(concurrency) / concurrency, mode="valid")
    factors = slower * np.exp(drift + random.normal(0, 0.05, num_requests))
    requests = [_scaled(number, float(factor), random) for number, factor in enumerate(factors)]
    duration_s = sum(entry.request_latency_ms for entry in requests) / 1e3 / concurrency
    return level(*requests, **{"value": float(concurrency), "duration_s": duration_s, **changes})


def _scaled(number, factor, random):
    thinking, answer = ((mean_ms * factor * random.lognormal(0, 0.2, num)).round(3).tolist() for mean_ms, num in ((10, 98), (9, 19)))
    first, cost, gap = 100 * factor, 20 * factor, 25 * factor
    first_answer = first + sum(thinking) + cost + gap
    return request(
        number,
        time_to_first_token_ms=first,
        time_to_first_answer_token_ms=first_answer,
        request_latency_ms=first_answer + sum(answer),
        inter_token_latencies_ms=Latencies(thinking=tuple(thinking), answer=tuple(answer)),
        ignore_costs_ms=(cost,),
        answer_gap_ms=gap,
        round_gaps_ms=(factor, 2 * factor),
    )
