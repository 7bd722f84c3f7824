# SPDX-License-Identifier: Apache-2.0
"""What a reply tells of itself: the account of its ids and a trace of its rounds. Knows no Triton."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from budgetforce.core import Ledger, RoundRecord


@dataclass(slots=True)
class RoundTrace:
    """What the engine's side of a round was like. The first call's reuse is the round's."""

    num_engine_calls: int = 0
    num_outages: int = 0
    kv_reused_blocks: int | None = None
    gap_ms: float = 0.0
    first_token_ms: float | None = None
    engine_ms: float = 0.0


def usage_report(ledger: Ledger) -> dict[str, int]:
    """Where every id went."""
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
        "num_ignored": ledger.num_ignored,
    }


def round_report(record: RoundRecord, trace: RoundTrace) -> dict[str, Any]:
    """One round: the core's side and the engine's."""
    return {
        "phase": record.phase,
        "num_prompt_tokens": record.num_prompt_tokens,
        "num_sampled_tokens": record.num_sampled_tokens,
        "num_dropped_tokens": record.num_dropped_tokens,
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


def ms_since(started: float) -> float:
    """Milliseconds since a ``time.monotonic()``."""
    return round((time.monotonic() - started) * 1e3, 3)
