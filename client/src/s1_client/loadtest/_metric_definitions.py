# SPDX-License-Identifier: Apache-2.0
"""The metrics of a load test and their definitions. Reports and documentation take the definitions from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from s1_client.loadtest._record import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A figure of the report with its definition.

    Attributes:
        name: its field in the summary.
        unit: "" for a share or a count.
        is_lower_better: whether less is better; None if neither direction is.
    """

    name: str
    title: str
    unit: str
    definition: str
    is_lower_better: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Term):
    """A term with values for each single reply, in milliseconds; the summary holds their percentiles."""

    unit: str = "ms"
    is_lower_better: bool | None = True
    values: Callable[[Request], Sequence[float]]


def num_output_tokens(request: Request) -> int:
    """Return the tokens of thinking and answer, injected tokens included."""
    return request.num_thinking_tokens + request.num_answer_tokens


def num_sampled_tokens(request: Request) -> int:
    """Return the tokens that the engine decoded; injected tokens are prompt to it and do not count."""
    return num_output_tokens(request) - request.num_injected_tokens


def first_token_ms(request: Request) -> float:
    """Return the time to first token; for a reply that was not streamed this is its request latency."""
    return request.request_latency_ms if request.time_to_first_token_ms is None else request.time_to_first_token_ms


def time_per_output_token_ms(request: Request) -> float | None:
    """Return the mean time per token after the first; None for fewer than two tokens or without streaming."""
    if request.time_to_first_token_ms is None or num_output_tokens(request) < 2:
        return None
    return (request.request_latency_ms - request.time_to_first_token_ms) / (num_output_tokens(request) - 1)


def _values(value: float | None) -> Sequence[float]:
    return () if value is None else (value,)


_METRICS: tuple[Metric, ...] = (
    Metric(
        name="time_to_first_token_ms",
        title="time to first token",
        definition="From the due time of a request to its first message with a sampled token.",
        values=lambda request: _values(request.time_to_first_token_ms),
    ),
    Metric(
        name="time_to_first_answer_token_ms",
        title="time to first answer token",
        definition="From the due time of a request to its first sampled token of the answer: the wait of a reader who skips the thinking.",
        values=lambda request: _values(request.time_to_first_answer_token_ms),
    ),
    Metric(
        name="request_latency_ms",
        title="request latency",
        definition="From the due time of a request to its last message.",
        values=lambda request: (request.request_latency_ms,),
    ),
    Metric(
        name="time_per_output_token_ms",
        title="time per output token",
        definition="(request latency - time to first token) / (output tokens - 1). Includes refused ends and the transition to the answer.",
        values=lambda request: _values(time_per_output_token_ms(request)),
    ),
    Metric(
        name="inter_token_latency_thinking_ms",
        title="inter-token latency, thinking",
        definition="Time between consecutive sampled tokens of the thinking, except across a refused end. A message of n tokens that "
        "arrives g ms after the previous one counts as n latencies of g / n ms.",
        values=lambda request: request.inter_token_latencies_ms.thinking,
    ),
    Metric(
        name="inter_token_latency_answer_ms",
        title="inter-token latency, answer",
        definition="The same for tokens of the answer.",
        values=lambda request: request.inter_token_latencies_ms.answer,
    ),
    Metric(
        name="ignore_cost_ms",
        title="cost of a refused end",
        definition="For each refused end of thinking, from the last token before it to the first token sampled after the ignore string "
        '("Wait").',
        values=lambda request: request.ignore_costs_ms,
    ),
    Metric(
        name="answer_gap_ms",
        title="transition to the answer",
        definition="From the last token of the thinking to the first sampled token of the answer.",
        values=lambda request: _values(request.answer_gap_ms),
    ),
    Metric(
        name="round_gap_ms",
        title="round gap",
        definition="On the server, from the end of a round to the engine call of the next round: the orchestrator's share of the two "
        "metrics above.",
        values=lambda request: request.round_gaps_ms,
    ),
)

RATES: tuple[Term, ...] = (
    Term(
        name="requests_per_s",
        title="requests",
        unit="1/s",
        definition="Complete replies divided by the level's duration (first request to last message). With few requests the end of the "
        "level, when concurrency drops, lowers this rate. At a request rate, the n requests of a level have only n - 1 gaps between them: "
        "it may be higher than the request rate, by up to 1 in n - 1.",
        is_lower_better=False,
    ),
    Term(
        name="tokens_per_s",
        title="throughput",
        unit="tokens/s",
        definition="Sampled tokens of all complete replies divided by the level's duration. Injected tokens are left out: they are not "
        "decoded.",
        is_lower_better=False,
    ),
    Term(
        name="goodput_requests_per_s",
        title="goodput",
        unit="1/s",
        definition="Good requests divided by the level's duration. A good request has a complete reply that passed every check and kept "
        "both limits, on time to first token and on time per output token (without streaming: request latency, and request "
        "latency / output tokens).",
        is_lower_better=False,
    ),
    Term(
        name="share_good",
        title="good requests",
        unit="",
        definition="Good requests divided by all requests, failed ones included.",
        is_lower_better=False,
    ),
    Term(
        name="mean_concurrency",
        title="mean concurrency",
        unit="",
        definition="Sum of all request latencies divided by the level's duration: the number of requests in flight, on average.",
        is_lower_better=None,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
TERMS: dict[str, Term] = {term.name: term for term in (*_METRICS, *RATES)}


TIMES = ("time_to_first_token_ms", "time_to_first_answer_token_ms", "request_latency_ms")  # ascending within a reply


def with_all_times(requests: Iterable[Request]) -> list[Request]:
    """Return the replies that have all of ``TIMES``. A reply without streaming has only one, so its times cannot be compared."""
    return [request for request in requests if request.is_done and all(METRICS[name].values(request) for name in TIMES)]


def values_of(requests: Iterable[Request], metric: Metric) -> list[float]:
    """Return the metric's values of all complete replies, in their order. Failed requests have none."""
    return [value for request in requests if request.is_done for value in metric.values(request)]
