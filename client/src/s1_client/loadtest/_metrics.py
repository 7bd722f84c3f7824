# SPDX-License-Identifier: Apache-2.0
"""What is measured of a load test, and what each name means. Reports and docs take their definitions from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from s1_client.loadtest._record import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word of the report.

    Attributes:
        name: the field of the summary.
        unit: "" for a share or a count.
        is_better_low: whether less is better; None if neither is.
    """

    name: str
    title: str
    unit: str
    definition: str
    is_better_low: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Term):
    """One that has values of its own for a reply, in milliseconds."""

    unit: str = "ms"
    is_better_low: bool | None = True
    values: Callable[[Request], Sequence[float]]


def num_output_tokens(request: Request) -> int:
    """Thinking and answer, with what the server put in."""
    return request.num_thinking_tokens + request.num_answer_tokens


def num_sampled_tokens(request: Request) -> int:
    """Those that the engine decoded: injected ones are prompt to it."""
    return num_output_tokens(request) - request.num_injected_tokens


def first_token_ms(request: Request) -> float:
    """Of a reply that was not streamed all tokens come at its end."""
    return request.request_latency_ms if request.time_to_first_token_ms is None else request.time_to_first_token_ms


def time_per_output_token_ms(request: Request) -> float | None:
    """None for a reply of less than two tokens, or that was not streamed."""
    if request.time_to_first_token_ms is None or num_output_tokens(request) < 2:
        return None
    return (request.request_latency_ms - request.time_to_first_token_ms) / (num_output_tokens(request) - 1)


def _one(value: float | None) -> Sequence[float]:
    return () if value is None else (value,)


_METRICS: tuple[Metric, ...] = (
    Metric(
        name="time_to_first_token_ms",
        title="time to first token",
        definition="From when a request was due to the first message with a token.",
        values=lambda request: _one(request.time_to_first_token_ms),
    ),
    Metric(
        name="time_to_first_answer_token_ms",
        title="time to first answer token",
        definition="From when a request was due to the first token of the answer: the wait of a reader who skips the thinking.",
        values=lambda request: _one(request.time_to_first_answer_token_ms),
    ),
    Metric(
        name="request_latency_ms",
        title="request latency",
        definition="From when a request was due to its last message.",
        values=lambda request: (request.request_latency_ms,),
    ),
    Metric(
        name="time_per_output_token_ms",
        title="time per output token",
        definition="(request latency - time to first token) / (output tokens - 1): refused ends and the turn to the answer included.",
        values=lambda request: _one(time_per_output_token_ms(request)),
    ),
    Metric(
        name="inter_token_latency_thinking_ms",
        title="inter-token latency, thinking",
        definition="Between two tokens of the thinking that the model sampled in one go. A message of n tokens that comes after g ms "
        "counts as n latencies of g / n.",
        values=lambda request: request.inter_token_latencies_ms.thinking,
    ),
    Metric(
        name="inter_token_latency_answer_ms",
        title="inter-token latency, answer",
        definition="The same of the answer.",
        values=lambda request: request.inter_token_latencies_ms.answer,
    ),
    Metric(
        name="ignore_cost_ms",
        title="cost of a Wait",
        definition='For each refused end of thinking, from the last token before it to the first one sampled behind "Wait".',
        values=lambda request: request.ignore_costs_ms,
    ),
    Metric(
        name="answer_gap_ms",
        title="turn to the answer",
        definition="From the last token of the thinking to the first one of the answer that was sampled.",
        values=lambda request: _one(request.answer_gap_ms),
    ),
    Metric(
        name="round_gap_ms",
        title="round gap",
        definition="On the server: from the end of a round of the loop to the engine call of the next. The orchestrator's own part of "
        "the two above.",
        values=lambda request: request.round_gaps_ms,
    ),
)

RATES: tuple[Term, ...] = (
    Term(
        name="requests_per_s",
        title="requests",
        unit="1/s",
        definition="Replies over the level's duration, from its first request to its last message. With few requests the end, "
        "when fewer run at once, pulls it down.",
        is_better_low=False,
    ),
    Term(
        name="tokens_per_s",
        title="throughput",
        unit="tokens/s",
        definition="Tokens that the model sampled, of all replies, over the level's duration. What the server put in is left out: "
        "it is not decoded.",
        is_better_low=False,
    ),
    Term(
        name="goodput_requests_per_s",
        title="goodput",
        unit="1/s",
        definition="The same of good requests only: a good one has a reply that passed every check, and kept both limits, on time to first "
        "token and on time per output token (of a reply that is not streamed: request latency, and request latency over output tokens).",
        is_better_low=False,
    ),
    Term(
        name="share_good",
        title="good requests",
        unit="",
        definition="Good requests among all that were made, failed ones included.",
        is_better_low=False,
    ),
    Term(
        name="mean_at_once",
        title="requests at once",
        unit="",
        definition="Latencies of all requests together over the level's duration: the load as it was, on average.",
        is_better_low=None,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
TERMS: dict[str, Term] = {term.name: term for term in (*_METRICS, *RATES)}


TIMES = ("time_to_first_token_ms", "time_to_first_answer_token_ms", "request_latency_ms")  # of one reply each is later than the one before


def with_all_times(requests: Iterable[Request]) -> list[Request]:
    """The replies that have each of ``TIMES``: of others, as of a reply that is not streamed, the three cannot be held side by side."""
    return [one for one in requests if one.is_done and all(METRICS[name].values(one) for name in TIMES)]


def values_of(requests: Iterable[Request], metric: Metric) -> list[float]:
    """Of the replies among them, in their order. Requests that failed have no latency."""
    return [value for request in requests if request.is_done for value in metric.values(request)]
