# SPDX-License-Identifier: Apache-2.0
"""Build records of runs for tests from the fields that matter to a test."""

from __future__ import annotations

from typing import Any

from s1_client.loadtest._record import Latencies, Level, Machine, Request, Run


def request(**values: Any) -> Request:
    """Return a complete request: 4 tokens of thinking with one refused end, 2 tokens of the answer."""
    usual: dict[str, Any] = {
        "work": "thought",
        "prompt": 0,
        "start_s": 0.0,
        "sent_s": 0.0,
        "end": "done",
        "max_thinking_tokens": 8,
        "num_ignore": 1,
        "num_prompt_tokens": 30,
        "num_thinking_tokens": 4,
        "num_injected_tokens": 1,
        "num_answer_tokens": 2,
        "num_ignored": 1,
        "num_rounds": 3,
        "num_messages": 9,
        "thinking_end": "natural",
        "answer_end": "stop",
        "request_latency_ms": 100.0,
        "time_to_first_token_ms": 20.0,
        "time_to_first_answer_token_ms": 80.0,
        "inter_token_latencies_ms": Latencies(thinking=(10.0,), answer=(12.0,)),
        "answer_gap_ms": 15.0,
        "ignore_costs_ms": (14.0,),
        "round_gaps_ms": (0.5, 0.4),
        "num_tokens_recomputed": 3,
    }
    return Request(**{**usual, **values})


def level(*requests: Request, **values: Any) -> Level:
    """Return a level of concurrency 2."""
    usual: dict[str, Any] = {"mode": "concurrency", "value": 2.0, "distribution": None, "duration_s": 1.0, "num_warmup": 0}
    return Level(**{**usual, "requests": requests, **values})


def run(*levels: Level, **values: Any) -> Run:
    """Return a run of the client's own driver."""
    usual: dict[str, Any] = {
        "label": "before",
        "started_at": "2026-01-02T03:04:05+00:00",
        "driver": "client",
        "driver_version": "0.1.0",
        "url": "127.0.0.1:8001",
        "server_version": "2.51.0",
        "model": "s1",
        "machine": Machine(cpu="a CPU", num_cores=2, memory_bytes=2**34),
        "scenario_name": "smoke",
        "scenario_hash": "0" * 12,
        "scenario": {"about": "a test"},
        "engine": {"engine_model": "embedded_llm"},
    }
    return Run(**{**usual, "levels": levels, **values})
