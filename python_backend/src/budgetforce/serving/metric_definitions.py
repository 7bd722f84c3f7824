# SPDX-License-Identifier: Apache-2.0
"""The metrics of model ``s1``: names, kinds, labels, buckets and meanings. Independent of Triton.

The table in docs/operations.md is made from this one, and a test compares it with the /metrics of a real server. Names and units follow
Prometheus's conventions: base units, counters end in ``_total``. Every metric also has the label ``model_instance``; Prometheus keeps
``instance`` for itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core import AnswerEnd, Phase, RefusedFor, ThinkingEnd
from budgetforce.errors import (
    BudgetForceError,
    Cancelled,
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    Stopping,
)
from budgetforce.serving.tenant_labels import NO_TENANT, NUM_NAMES, OTHER_TENANTS


class Kind(str, Enum):
    """The kinds of metrics that Triton's Python backend has."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Labels = Mapping[str, str]
DONE, CUT = "done", "cut"
TENANTS = (NO_TENANT, OTHER_TENANTS)  # a tenant's own name becomes a label when its first request ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of model ``s1``.

    Attributes:
        name: with the prefix ``s1_`` and the unit.
        meaning: for the docs and for the HELP line of /metrics.
        labels: the allowed values of each label; of ``build_info`` none are listed, because they are known only at the start.
        excluded: combinations of those values that cannot occur.
        buckets: upper bounds of a histogram, ascending.
    """

    name: str
    kind: Kind
    meaning: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    excluded: Sequence[Labels] = ()
    buckets: Sequence[float] = ()

    def series(self) -> Iterator[Labels]:
        """Yield every combination of label values that can occur; each is published as 0 at the start.

        A counter that first appears with a value above 0 has no increase in Prometheus: its first event would be lost.
        """
        for values in itertools.product(*self.labels.values()):
            labels = dict(zip(self.labels, values, strict=True))
            if labels not in self.excluded:
                yield labels


_SECONDS_TO_FIRST_TOKEN = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10, 20, 40, 80)
_MINUTES = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # a long thought takes minutes
_SECONDS_IN_QUEUE = (0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SECONDS_PER_TOKEN = (0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5)
_TOKENS = (0, 16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 24576, 32768)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1)
_SHORT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_ENGINE_SECONDS = (0.005, 0.025, 0.1, *_MINUTES[1:])
_SECONDS_TO_FREE = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5)

_PHASES = tuple(phase.value for phase in Phase)
_ERRORS = (InvalidRequest, Cancelled, DeadlineExceeded, Overloaded, Stopping, EngineUnavailable, EngineFailed, BudgetForceError)
_ENDS = (DONE, *(error.code for error in _ERRORS))
_ORIGINS = ("prompt", "sampled", "injected", "terminator", "dropped", "redone")
_NO_TOKENS = (
    *({"phase": "prompt", "origin": origin} for origin in _ORIGINS[1:]),
    *({"phase": phase, "origin": "prompt"} for phase in _PHASES),
)


def _gauge(name: str, meaning: str, **labels: Sequence[str]) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, meaning=meaning, labels=labels)


def _counter(name: str, meaning: str, *, excluded: Sequence[Labels] = (), **labels: Sequence[str]) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, meaning=meaning, labels=labels, excluded=excluded)


def _histogram(name: str, meaning: str, buckets: Sequence[float], **labels: Sequence[str]) -> Metric:
    return Metric(name=name, kind=Kind.HISTOGRAM, meaning=meaning, labels=labels, buckets=buckets)


BUILD_INFO = "s1_build_info"
BUILD_LABELS = ("version", "triton", "engine_model", "preset", "training")

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # Load
        _gauge("s1_requests_open", "Requests that have arrived and not ended"),
        _gauge("s1_requests_waiting", "Requests that wait for room for their first sample"),
        _gauge("s1_requests_waiting_max", "Limit of s1_requests_waiting (parameter max_waiting)"),
        _gauge("s1_replies_running", "Samples that are running"),
        _gauge("s1_replies_max", "Limit of s1_replies_running (parameter max_replies)"),
        _gauge("s1_kv_tokens_reserved", "KV cache tokens that the running samples may need at most"),
        _gauge("s1_kv_tokens_max", "Limit of s1_kv_tokens_reserved (parameter max_kv_tokens); 0 = left to the engine"),
        # State
        _gauge("s1_engine_ready", "1 if the engine answers, else 0"),
        _gauge("s1_draining", "0, or while the server stops 1 (new requests are still served), then 2 (they are rejected)"),
        _gauge("s1_heartbeat_timestamp_seconds", "Unix time of the last heartbeat of s1's process, updated once a second"),
        _gauge(BUILD_INFO, "1; the labels describe the server"),
        # Requests
        _counter(
            "s1_requests_total",
            "Requests that have ended, commands included",
            end=_ENDS,
        ),
        _counter(
            "s1_commands_total",
            "Commands to running requests; rejected: no such request runs, or it cannot obey",
            command=("answer_now", "cancel"),
            result=("applied", "rejected"),
        ),
        _histogram("s1_queue_seconds", "Time that a request waited for room", _SECONDS_IN_QUEUE),
        _histogram(
            "s1_time_to_first_token_seconds",
            "From a request's arrival to the first token from the engine, the queue included",
            _SECONDS_TO_FIRST_TOKEN,
        ),
        _histogram("s1_time_to_first_answer_token_seconds", "From a request's arrival to the first sampled token of an answer", _MINUTES),
        _histogram("s1_request_duration_seconds", "From the arrival of a request to the end of its complete reply", _MINUTES),
        _histogram(
            "s1_orchestration_seconds",
            "Part of s1_request_duration_seconds outside the queue and the engine; replies of one sample only",
            _SHORT_SECONDS,
        ),
        _histogram("s1_cancel_to_free_seconds", "From the notice that a request is cancelled until its room is free", _SECONDS_TO_FREE),
        # Tenants
        _counter(
            "s1_tenant_requests_total",
            f"Requests that have ended, commands included, by tenant; the first {NUM_NAMES} names have labels of their own",
            tenant=TENANTS,
            end=_ENDS,
        ),
        _counter("s1_tenant_tokens_total", "Tokens of prompts and replies by tenant", tenant=TENANTS, phase=("prompt", *_PHASES)),
        _counter("s1_tenant_queue_seconds_total", "Time that requests waited for room, by tenant", tenant=TENANTS),
        # Samples
        _histogram("s1_prompt_tokens", "Length of a request's prompt", _TOKENS),
        _histogram("s1_thinking_tokens", "Length of a sample's thinking, injected tokens included", _TOKENS),
        _histogram("s1_answer_tokens", "Sampled length of a sample's answer", _TOKENS),
        _histogram("s1_thinking_budget_used_ratio", "Share of max_thinking_tokens that a sample's thinking used", _SHARES),
        _histogram(
            "s1_time_per_output_token_seconds",
            "Mean time between the tokens of a sample's phase, pauses between its rounds included",
            _SECONDS_PER_TOKEN,
            phase=_PHASES,
        ),
        _counter("s1_thinking_ends_total", "Thoughts that have ended", cause=tuple(end.value for end in ThinkingEnd)),
        _counter("s1_answer_ends_total", "Answers that have ended", cause=tuple(end.value for end in AnswerEnd)),
        _counter("s1_ends_refused_total", "Refused ends of thinking", refused_for=tuple(reason.value for reason in RefusedFor)),
        _counter(
            "s1_tokens_total",
            "Tokens by phase and origin; the prompt counts once a request",
            excluded=_NO_TOKENS,
            phase=("prompt", *_PHASES),
            origin=_ORIGINS,
        ),
        # Engine
        _counter("s1_rounds_total", "Rounds that have ended", phase=_PHASES),
        _counter(
            "s1_engine_calls_total",
            "Engine calls that have ended; cut: s1 ended the call early",
            result=(DONE, CUT, *(error.code for error in (InvalidRequest, EngineUnavailable, EngineFailed, BudgetForceError))),
        ),
        _counter("s1_engine_outages_total", "Engine calls that an unreachable engine interrupted, and that were continued or given up"),
        _histogram("s1_engine_seconds", "Time of a round in the engine", _ENGINE_SECONDS),
        _histogram("s1_round_gap_seconds", "Time between a sample's rounds, in which its engine call does not run", _SHORT_SECONDS),
        _counter("s1_kv_reused_blocks_total", "KV cache blocks that rounds reused"),
        _counter("s1_kv_prompt_tokens_total", "Context tokens of the rounds that report reused blocks, beside s1_kv_reused_blocks_total"),
        # Tracing
        _counter("s1_spans_total", "Spans of traced requests; lost: the receiver did not take them", result=("exported", "lost")),
    )
}
