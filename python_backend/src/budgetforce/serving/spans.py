# SPDX-License-Identifier: Apache-2.0
"""Describes a request that has ended as spans: the request, its wait in the queue, and its rounds. Independent of OpenTelemetry.

Everything is taken from the ledger and the traces of its samples, as the metrics are, and never from a prompt or a reply. Attributes
have the names of OpenTelemetry's conventions for generative AI where these have a name; a round's are the keys of its report in a
result, behind "s1.".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from budgetforce.core import RoundRecord
from budgetforce.serving.replies.result import RoundTrace, round_report
from budgetforce.serving.replies.sample_facts import SampleFacts
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.request_measures import EndedRequest

Attribute = str | int | float | Sequence[str]


class Kind(Enum):
    """The kinds of spans, by OpenTelemetry's names: SERVER answers a caller, CLIENT calls another model."""

    SERVER = "SERVER"
    INTERNAL = "INTERNAL"
    CLIENT = "CLIENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span that is over.

    Attributes:
        started, ended: readings of ``time.monotonic()``.
        error: the code of the error that ended it, "" = none.
    """

    name: str
    kind: Kind
    context: SpanContext
    started: float
    ended: float
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    error: str = ""


def spans_of(request: EndedRequest, *, model: str, engine_model: str) -> list[Span]:
    """Return the spans of a traced request, its own first. ``model``: the name under which Triton serves ``s1``."""
    assert request.span is not None
    code = "" if request.error is None else request.error.code
    whole = Span(
        name="s1.request",
        kind=Kind.SERVER,
        context=request.span,
        started=request.arrived,
        ended=request.ended,
        attributes=_request_attributes(request, model, engine_model),
        error=code,
    )
    return [whole, *_queue_span(request, code), *_round_spans(request, code)]


def _request_attributes(request: EndedRequest, model: str, engine_model: str) -> dict[str, Attribute]:
    common: dict[str, Attribute] = {"gen_ai.request.model": model, "gen_ai.response.id": request.name, "s1.engine_model": engine_model}
    if request.command is not None:
        return common | {"s1.command": request.command}
    common |= {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "s1"}
    return common | _reply_attributes(request.samples) if request.samples else common


def _reply_attributes(samples: Sequence[SampleFacts]) -> dict[str, Attribute]:
    ledgers = [sample.ledger for sample in samples]
    found: dict[str, Attribute] = {
        "gen_ai.usage.input_tokens": ledgers[0].prompt,
        "gen_ai.usage.output_tokens": sum(ledger.reply for ledger in ledgers),
        "gen_ai.usage.reasoning.output_tokens": sum(ledger.thinking for ledger in ledgers),
        "gen_ai.response.finish_reasons": [ledger.answer_end.value for ledger in ledgers if ledger.answer_end is not None],
        "s1.thinking_ends": [ledger.thinking_end.value for ledger in ledgers if ledger.thinking_end is not None],
        "s1.num_ignored": sum(ledger.num_ignored for ledger in ledgers),
        "s1.num_rounds": sum(len(ledger.rounds) for ledger in ledgers),
    }
    return found | ({"gen_ai.request.choice.count": len(samples)} if len(samples) > 1 else {})


def _queue_span(request: EndedRequest, code: str) -> Iterator[Span]:
    """Yield the span of the time in which the request waited for room, if it came so far."""
    assert request.span is not None
    if request.queued is None:
        return
    is_admitted = request.admitted is not None
    yield Span(
        name="s1.queue",
        kind=Kind.INTERNAL,
        context=request.span.child(),
        started=request.queued,
        ended=request.ended if request.admitted is None else request.admitted,
        error="" if is_admitted else code,
    )


def _round_spans(request: EndedRequest, code: str) -> Iterator[Span]:
    for index, sample in enumerate(request.samples):
        for number, (record, trace) in enumerate(zip(sample.ledger.rounds, sample.traces, strict=False)):
            if trace.span is not None:
                yield _round_span(trace, trace.span, {"s1.sample": index, "s1.round": number, **_report(record, trace)}, record, code)


def _round_span(trace: RoundTrace, context: SpanContext, attributes: Mapping[str, Attribute], record: RoundRecord, code: str) -> Span:
    return Span(
        name="s1.round",
        kind=Kind.CLIENT,
        context=context,
        started=trace.started,
        ended=trace.started + trace.engine_ms / 1e3,
        attributes=attributes,
        error=code if record.ended_by is None else "",
    )


def _report(record: RoundRecord, trace: RoundTrace) -> dict[str, Attribute]:
    """Return a round's report as attributes. Injected ids may be text of the caller, so only their number is told."""
    report = {name: value for name, value in round_report(record, trace).items() if name not in ("injected_ids", "engine_ms")}
    report["num_injected_tokens"] = len(record.injected_ids)
    return {f"s1.{name}": _plain(value) for name, value in report.items() if value is not None}


def _plain(value: object) -> Attribute:
    plain = value.value if isinstance(value, Enum) else value
    assert isinstance(plain, str | int | float)
    return plain
