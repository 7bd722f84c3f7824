# SPDX-License-Identifier: Apache-2.0
"""Turn the messages of a request and their arrival times into its record. Shared by both drivers; no clock, no connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from s1_client import AnswerDelta, Done, Event, Injected, Result, RoundEnded, ThinkingDelta
from s1_client.loadtest._jobs import Job
from s1_client.loadtest._record import DONE, Latencies, Request
from s1_client.loadtest._reply_checks import violations

OBEYS_WITHIN_S = 2.0  # tokens already under way still arrive; a busy machine is slow


@dataclass(slots=True, kw_only=True)
class Observation:
    """A request as its driver observed it. Times are seconds since the level began.

    Attributes:
        due_s: scheduled start.
        messages: each event with its arrival time.
        ended_s: time of the last message or of the error.
        error: the error that ended the request; None if it ended with a result.
        command_accepted_s: when the server acknowledged the job's command (cancel or answer now).
        command_error: why the server refused the command; None also if the request had already ended.
        replica: the server that took the request, if known.
    """

    job: Job
    due_s: float
    sent_s: float
    messages: list[tuple[float, Event]] = field(default_factory=list)
    ended_s: float = 0.0
    error: Exception | None = None
    command_accepted_s: float | None = None
    command_error: Exception | None = None
    replica: str | None = None

    @property
    def result(self) -> Result | None:
        """The server's result, if it arrived."""
        return next((event.result for _, event in self.messages if isinstance(event, Done)), None)

    @property
    def num_tokens(self) -> int:
        """The number of sampled tokens that have arrived."""
        return sum(len(event.ids) for _, event in self.messages if isinstance(event, ThinkingDelta | AnswerDelta))


def request_of(seen: Observation, tokens_per_block: int) -> Request:
    """Return the record of a request; ``tokens_per_block`` is the block size of the engine's KV cache."""
    result = seen.result if seen.error is None else None
    account = _of_result(result, tokens_per_block) if result else _of_messages(seen)
    return Request(
        work=seen.job.work.name,
        prompt=seen.job.number,
        start_s=seen.due_s,
        sent_s=seen.sent_s,
        end=DONE if seen.error is None else type(seen.error).__name__,
        message=None if seen.error is None else str(seen.error),
        replica=seen.replica,
        is_retryable=None if seen.error is None else getattr(seen.error, "retryable", False),
        num_messages=len(seen.messages),
        request_latency_ms=(seen.ended_s - seen.due_s) * 1e3,
        checks=(*violations(seen.job, [event for _, event in seen.messages]), *_ignored_command(seen)) if seen.error is None else (),
        **account,
        **_times(seen),
    )


def _ignored_command(seen: Observation) -> Iterator[str]:
    """Yield a fault if the reply, or its thinking, continued after the command that should have ended it."""
    ended = Event if seen.job.work.cancel_after_tokens else ThinkingDelta
    last_s = max((at for at, event in seen.messages if isinstance(event, ended)), default=0.0)
    command = "cancel" if ended is Event else "answer_now"
    if seen.command_error is not None:
        yield f"{command}: {type(seen.command_error).__name__}: {seen.command_error}"
    accepted_s = seen.command_accepted_s
    if accepted_s is not None and last_s > accepted_s + OBEYS_WITHIN_S:
        yield f"{command}: tokens arrived for {last_s - accepted_s:.1f} s after the server accepted the command"


def _of_result(result: Result, tokens_per_block: int) -> dict[str, Any]:
    usage, later = result.usage, result.rounds[1:]
    reused = [entry.kv_reused_blocks for entry in later]
    num_reused = None if None in reused else sum(tokens_per_block * (blocks or 0) for blocks in reused)
    return {
        "max_thinking_tokens": result.effective.get("max_thinking_tokens"),
        "num_ignore": result.effective.get("num_ignore"),
        "num_prompt_tokens": usage.num_prompt_tokens,
        "num_thinking_tokens": usage.num_thinking_tokens,
        "num_injected_tokens": usage.num_thinking_injected,
        "num_answer_tokens": usage.num_answer_tokens,
        "num_ignored": usage.num_ignored,
        "num_rounds": len(result.rounds),
        "thinking_end": result.thinking_end,
        "answer_end": result.answer_end,
        "round_gaps_ms": tuple(entry.gap_ms for entry in later),
        "num_tokens_recomputed": None if num_reused is None else sum(entry.num_prompt_tokens for entry in later) - num_reused,
    }


def _of_messages(seen: Observation) -> dict[str, Any]:
    """Count what had arrived before a request failed."""
    events = [event for _, event in seen.messages]
    injected = sum(len(event.ids) for event in events if isinstance(event, Injected) and event.phase == "thinking")
    refused = [event for event in events if isinstance(event, RoundEnded) and event.round.refused_for]
    return {
        "num_thinking_tokens": injected + sum(len(event.ids) for event in events if isinstance(event, ThinkingDelta)),
        "num_injected_tokens": injected,
        "num_answer_tokens": sum(len(event.ids) for event in events if isinstance(event, AnswerDelta)),
        "num_ignored": len(refused),
        "num_rounds": sum(isinstance(event, RoundEnded) for event in events),
    }


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Sampled tokens that arrived in the same message; ``is_after_refusal``: the first tokens after a refused end."""

    at: float
    phase: str
    num_tokens: int
    is_after_refusal: bool


def _times(seen: Observation) -> dict[str, Any]:
    arrivals = _arrivals(seen)
    first = next(iter(arrivals), None)
    first_answer = next((arrival for arrival in arrivals if arrival.phase == "answer"), None)
    latencies: dict[str, list[float]] = {"thinking": [], "answer": []}
    costs, answer_gap = [], None
    for previous, arrival in pairwise(arrivals):
        gap_ms = (arrival.at - previous.at) * 1e3
        if arrival.phase != previous.phase:
            answer_gap = gap_ms
        elif arrival.is_after_refusal:
            costs.append(gap_ms)
        else:
            latencies[arrival.phase] += [gap_ms / arrival.num_tokens] * arrival.num_tokens
    return {
        "time_to_first_token_ms": None if first is None else (first.at - seen.due_s) * 1e3,
        "time_to_first_answer_token_ms": None if first_answer is None else (first_answer.at - seen.due_s) * 1e3,
        "inter_token_latencies_ms": Latencies(thinking=tuple(latencies["thinking"]), answer=tuple(latencies["answer"])),
        "answer_gap_ms": answer_gap,
        "ignore_costs_ms": tuple(costs),
    }


def _arrivals(seen: Observation) -> list[_Arrival]:
    arrivals, is_after_refusal = [], False
    for at, event in seen.messages:
        match event:
            case RoundEnded(round=ended) if ended.refused_for:
                is_after_refusal = True
            case ThinkingDelta(ids=ids) | AnswerDelta(ids=ids) if ids:
                arrivals.append(_Arrival(at, event.kind, len(ids), is_after_refusal))
                is_after_refusal = False
    return arrivals
