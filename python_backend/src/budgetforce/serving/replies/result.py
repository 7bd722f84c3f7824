# SPDX-License-Identifier: Apache-2.0
"""Builds the JSON of a sample's result from the core's ledger and the timing of its rounds. Independent of Triton."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from budgetforce.core import Ledger, RoundRecord
from budgetforce.provenance import TrainingRecord
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.result_schema import Effective, RoundReport, SampleResult, Training, Usage


@dataclass(slots=True)
class RoundTrace:
    """Measurements of a round's engine calls.

    Attributes:
        kv_reused_blocks: of the first call.
        started: on ``time.monotonic()``'s clock.
        span: the round's place in the request's trace; None = the request is not traced.
    """

    num_engine_calls: int = 0
    num_outages: int = 0
    kv_reused_blocks: int | None = None
    gap_ms: float = 0.0
    first_token_ms: float | None = None
    engine_ms: float = 0.0
    started: float = field(default_factory=time.monotonic)
    span: SpanContext | None = None

    @property
    def traceparent(self) -> str:
        """The header that ties the engine's spans to the round, "" if it is not traced."""
        return "" if self.span is None else self.span.traceparent


def usage_report(ledger: Ledger) -> Usage:
    """Return the token account of a sample, with the keys that clients see."""
    return {
        "num_prompt_tokens": ledger.prompt,
        "num_output_ids": ledger.reply,
        "num_thinking_tokens": ledger.thinking,
        "num_thinking_sampled": ledger.thinking_sampled,
        "num_thinking_injected": ledger.thinking_injected,
        "num_grace_tokens": ledger.grace,
        "num_answer_tokens": ledger.answer_sampled,
        "num_answer_injected": ledger.answer_injected,
        "num_terminators": ledger.terminators,
        "num_dropped": ledger.dropped,
        "num_redone": ledger.redone,
        "num_ignored": ledger.num_ignored,
    }


def round_report(record: RoundRecord, trace: RoundTrace) -> RoundReport:
    """Return the report of a round: the core's record and the measurements of its engine calls."""
    return {
        "phase": record.phase,
        "num_prompt_tokens": record.num_prompt_tokens,
        "num_sampled_tokens": record.num_sampled_tokens,
        "num_dropped_tokens": record.num_dropped_tokens,
        "num_redone": record.num_redone,
        "ended_by": record.ended_by,
        "terminator_id": record.terminator_id,
        "refused_for": record.refused_for,
        "injected_ids": record.injected_ids,
        "num_engine_calls": trace.num_engine_calls,
        "num_outages": trace.num_outages,
        "kv_reused_blocks": trace.kv_reused_blocks,
        "gap_ms": trace.gap_ms,
        "first_token_ms": trace.first_token_ms,
        "engine_ms": trace.engine_ms,
    }


def training_report(record: TrainingRecord) -> Training:
    """Return a model's training record with the keys that clients see; ``id`` stands for the weights too."""
    return {
        "id": record.id,
        "name": record.name,
        "base_model": record.base_model or None,
        "dataset": record.dataset,
        "dataset_sha256": record.dataset_sha256,
        "recipe_sha256": record.recipe_sha256,
    }


def sample_result(
    *,
    request_id: str,
    index: int,
    ledger: Ledger,
    traces: Sequence[RoundTrace],
    stop_word: str | None,
    effective: Effective,
    training: TrainingRecord | None,
    total_ms: float,
) -> SampleResult:
    """Return the result of a sample that is complete."""
    return {
        "request_id": request_id,
        "index": index,
        "finish_reason": {"thinking": ledger.thinking_end, "answer": ledger.answer_end},
        "stop_word": stop_word,
        "usage": usage_report(ledger),
        "effective": effective,
        "training": None if training is None else training_report(training),
        "rounds": [round_report(record, trace) for record, trace in zip(ledger.rounds, traces, strict=True)],
        "engine_time_to_first_token_ms": next((trace.first_token_ms for trace in traces if trace.first_token_ms is not None), None),
        "total_ms": total_ms,
    }


def ms_since(started: float, now: float | None = None) -> float:
    """Return the milliseconds from ``started`` to ``now``, readings of ``time.monotonic()``; None = the present."""
    return round(((time.monotonic() if now is None else now) - started) * 1e3, 3)
