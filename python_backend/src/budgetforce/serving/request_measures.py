# SPDX-License-Identifier: Apache-2.0
"""Measures a request that has ended. Independent of Triton.

Everything is taken from the ledger and the traces of its samples, so the metrics agree with the results that clients get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from budgetforce.core import Phase, RoundRecord
from budgetforce.errors import BudgetForceError, Cancelled
from budgetforce.serving.logs import code_of
from budgetforce.serving.measurements import Measurements
from budgetforce.serving.replies.result import RoundTrace
from budgetforce.serving.replies.sample_facts import SampleFacts
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.tenant_labels import NO_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRequest:
    """A request that has ended. Times are readings of ``time.monotonic()``.

    Attributes:
        name: the client's name for it.
        error: the error that ended it; None = its reply is complete, or its command was applied.
        command: "answer_now" or "cancel"; None for a request with a prompt.
        queued, admitted: when it began and ended to wait for room; None if it did not come so far.
        cancelled: when its cancellation was noticed.
        samples: empty before the reply has begun.
        tenant: its tenant's label.
        span: its place in a trace; None = it is not traced.
    """

    name: str = ""
    error: BudgetForceError | None
    arrived: float
    ended: float
    command: str | None = None
    queued: float | None = None
    admitted: float | None = None
    cancelled: float | None = None
    samples: Sequence[SampleFacts] = field(default_factory=tuple)
    tenant: str = NO_TENANT
    span: SpanContext | None = None

    @property
    def queue_s(self) -> float | None:
        """Seconds that it waited for room; None if it did not come so far."""
        return None if self.queued is None else (self.admitted or self.ended) - self.queued

    @property
    def num_tokens(self) -> dict[str, int]:
        """Tokens of the prompt, which counts once, and of each phase over all samples."""
        ledgers = [sample.ledger for sample in self.samples]
        return {
            "prompt": ledgers[0].prompt if ledgers else 0,
            Phase.THINKING.value: sum(ledger.thinking for ledger in ledgers),
            Phase.ANSWER.value: sum(ledger.answer_sampled + ledger.answer_injected for ledger in ledgers),
        }

    @property
    def first_token_s(self) -> float | None:
        """Seconds from its arrival to the first sampled token of all its samples; None before there is any."""
        firsts = [arrivals.first for sample in self.samples for arrivals in sample.arrivals.values() if arrivals.first is not None]
        return min(firsts) - self.arrived if firsts else None


def account_of(request: EndedRequest) -> dict[str, Any]:
    """Return tokens, causes and times of a request for its line in the log, as JSON can hold them: no text of its own."""
    ledgers = [sample.ledger for sample in request.samples]
    times = {"queue_ms": request.queue_s, "first_token_ms": request.first_token_s}
    return {
        **{f"num_{phase}_tokens": number for phase, number in request.num_tokens.items()},
        "thinking_ends": [ledger.thinking_end and ledger.thinking_end.value for ledger in ledgers],
        "answer_ends": [ledger.answer_end and ledger.answer_end.value for ledger in ledgers],
        **{name: None if seconds is None else round(seconds * 1e3, 1) for name, seconds in times.items()},
    }


def measure(request: EndedRequest, into: Measurements) -> None:
    """Measure a request that has ended. ``s1_requests_total`` is not counted here."""
    _measure_tenant(request, into)
    if request.command is not None:
        result = "applied" if request.error is None else "rejected"
        into.increment("s1_commands_total", command=request.command, result=result)
        return
    if request.cancelled is not None and isinstance(request.error, Cancelled):
        into.observe("s1_cancel_to_free_seconds", request.ended - request.cancelled)
    if request.queued is None or request.admitted is None:
        return
    into.observe("s1_queue_seconds", request.admitted - request.queued)
    _measure_times(request, into)
    if request.samples:
        num_prompt_tokens = request.samples[0].ledger.prompt
        into.observe("s1_prompt_tokens", num_prompt_tokens)
        into.increment("s1_tokens_total", num_prompt_tokens, phase="prompt", origin="prompt")
    for sample in request.samples:
        _measure_sample(sample, into)


def _measure_tenant(request: EndedRequest, into: Measurements) -> None:
    into.increment("s1_tenant_requests_total", tenant=request.tenant, end=code_of(request.error))
    into.increment("s1_tenant_queue_seconds_total", request.queue_s or 0.0, tenant=request.tenant)
    for phase, number in request.num_tokens.items():
        into.increment("s1_tenant_tokens_total", number, tenant=request.tenant, phase=phase)


def _measure_times(request: EndedRequest, into: Measurements) -> None:
    answers = [first for sample in request.samples if (first := sample.arrivals[Phase.ANSWER].first) is not None]
    if request.first_token_s is not None:
        into.observe("s1_time_to_first_token_seconds", request.first_token_s)
    if answers:
        into.observe("s1_time_to_first_answer_token_seconds", min(answers) - request.arrived)
    if request.error is None:
        into.observe("s1_request_duration_seconds", request.ended - request.arrived)
        if len(request.samples) == 1:
            into.observe("s1_orchestration_seconds", max(_orchestration_s(request), 0.0))


def _orchestration_s(request: EndedRequest) -> float:
    assert request.queued is not None
    assert request.admitted is not None
    engine_s = sum(trace.engine_ms for trace in request.samples[0].traces) / 1e3
    return (request.ended - request.arrived) - (request.admitted - request.queued) - engine_s


def _measure_sample(sample: SampleFacts, into: Measurements) -> None:
    ledger = sample.ledger
    if ledger.thinking_end is not None:
        into.increment("s1_thinking_ends_total", cause=ledger.thinking_end.value)
        into.observe("s1_thinking_tokens", ledger.thinking)
        if sample.budget:
            into.observe("s1_thinking_budget_used_ratio", ledger.thinking / sample.budget)
    if ledger.answer_end is not None:
        into.increment("s1_answer_ends_total", cause=ledger.answer_end.value)
        into.observe("s1_answer_tokens", ledger.answer_sampled)
    for phase, arrivals in sample.arrivals.items():
        if arrivals.s_per_token is not None:
            into.observe("s1_time_per_output_token_seconds", arrivals.s_per_token, phase=phase.value)
    for result, number in sample.call_results.items():
        into.increment("s1_engine_calls_total", number, result=result)
    _count_tokens(sample, into)
    for record, trace in zip(ledger.rounds, sample.traces, strict=False):  # of a sample that failed, the last round may have no trace
        _measure_round(record, trace, into)


def _count_tokens(sample: SampleFacts, into: Measurements) -> None:
    ledger = sample.ledger
    for phase, sampled, injected in (
        (Phase.THINKING, ledger.thinking_sampled, ledger.thinking_injected),
        (Phase.ANSWER, ledger.answer_sampled, ledger.answer_injected),
    ):
        rounds = [record for record in ledger.rounds if record.phase is phase]
        counts = {
            "sampled": sampled,
            "injected": injected,
            "terminator": sum(record.terminator_id is not None for record in rounds),
            "dropped": sum(record.num_dropped_tokens for record in rounds),
            "redone": sum(record.num_redone for record in rounds),
        }
        for origin, number in counts.items():
            into.increment("s1_tokens_total", number, phase=phase.value, origin=origin)


def _measure_round(record: RoundRecord, trace: RoundTrace, into: Measurements) -> None:
    into.increment("s1_engine_outages_total", trace.num_outages)
    if record.refused_for is not None:
        into.increment("s1_ends_refused_total", refused_for=record.refused_for.value)
    if record.ended_by is None:
        return
    into.increment("s1_rounds_total", phase=record.phase.value)
    into.observe("s1_round_gap_seconds", trace.gap_ms / 1e3)
    if trace.num_engine_calls:
        into.observe("s1_engine_seconds", trace.engine_ms / 1e3)
    if trace.kv_reused_blocks is not None:
        into.increment("s1_kv_reused_blocks_total", trace.kv_reused_blocks)
        into.increment("s1_kv_prompt_tokens_total", record.num_prompt_tokens)
