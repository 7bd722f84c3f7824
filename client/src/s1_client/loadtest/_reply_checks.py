# SPDX-License-Identifier: Apache-2.0
"""Check a reply: budgets were kept, the token ledger adds up, and every requested option was applied. Pure functions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from s1_client import AnswerDelta, Done, Event, Injected, Result, RoundEnded, ThinkingDelta
from s1_client.loadtest._jobs import Job

_THINKING_ENDS = {"natural", "budget", "answer_now", "deadline", "length", "skipped", "off", "absent"}
_ANSWER_ENDS = {"stop", "stop_word", "length", "deadline", "empty"}


def violations(job: Job, events: Sequence[Event]) -> tuple[str, ...]:
    """Return the faults of a complete reply, one sentence each; empty if the reply is correct."""
    results = [event.result for event in events if isinstance(event, Done)]
    if len(results) != 1 or not isinstance(events[-1], Done):
        return (f"{len(results)} results in {len(events)} messages, allowed: exactly one, in the last message",)
    (result,) = results
    found = [*_ends(result), *_budgets(result), *_ledger(result), *_options(job, result)]
    if job.work.stream:
        found += _stream(events, result)
    elif len(events) > 1:
        found.append(f"stream: {len(events)} messages arrived, the request asked for a single one")
    return tuple(found)


def _ends(result: Result) -> Iterator[str]:
    if result.thinking_end not in _THINKING_ENDS:
        yield f"thinking_end: got {result.thinking_end!r}, allowed: {', '.join(sorted(_THINKING_ENDS))}"
    if result.answer_end not in _ANSWER_ENDS:
        yield f"answer_end: got {result.answer_end!r}, allowed: {', '.join(sorted(_ANSWER_ENDS))}"


def _budgets(result: Result) -> Iterator[str]:
    usage, effective = result.usage, result.effective
    num_budgeted = usage.num_thinking_tokens - usage.num_grace_tokens
    budget, answer, grace = effective.get("max_thinking_tokens"), effective.get("max_tokens"), effective.get("grace_tokens") or 0
    if effective.get("thinking") == "forced" and budget is not None and 0 <= budget < num_budgeted:
        yield f"max_thinking_tokens: the thinking has {num_budgeted} tokens, allowed: {budget}"
    if usage.num_grace_tokens > grace:
        yield f"grace_tokens: the thinking used {usage.num_grace_tokens}, allowed: {grace}"
    if answer is not None and usage.num_answer_tokens > answer:
        yield f"max_tokens: the answer has {usage.num_answer_tokens} tokens, allowed: {answer}"
    num_total, total = usage.num_thinking_tokens + usage.num_answer_tokens, effective.get("max_total_tokens")
    if total is not None and num_total > total:
        yield f"max_total_tokens: thinking and answer have {num_total} tokens, allowed: {total}"
    num_refused = sum(entry.refused_for == "num_ignore" for entry in result.rounds)
    if (allowed := effective.get("num_ignore")) is not None and num_refused > allowed:
        yield f"num_ignore: {num_refused} ends were refused, allowed: {allowed}"


def _ledger(result: Result) -> Iterator[str]:
    """Compare the ledger with the rounds: every sampled token is counted once, every refused end has its round."""
    usage, rounds = result.usage, result.rounds
    yield from _differ("num_thinking_tokens", usage.num_thinking_tokens, usage.num_thinking_sampled + usage.num_thinking_injected)
    num_sampled = usage.num_thinking_sampled + usage.num_answer_tokens + usage.num_terminators + usage.num_dropped
    yield from _differ("tokens sampled in the rounds", sum(entry.num_sampled_tokens for entry in rounds), num_sampled)
    yield from _differ("num_ignored", usage.num_ignored, sum(entry.refused_for is not None for entry in rounds))


def _stream(events: Sequence[Event], result: Result) -> Iterator[str]:
    """Compare the ledger with the ids and rounds that arrived in the stream."""
    usage = result.usage
    sums: dict[str, Callable[[Event], bool]] = {
        "num_thinking_sampled": lambda event: isinstance(event, ThinkingDelta),
        "num_answer_tokens": lambda event: isinstance(event, AnswerDelta),
        "num_thinking_injected": lambda event: isinstance(event, Injected) and event.phase == "thinking",
        "num_output_ids": lambda _: True,
    }
    for name, belongs in sums.items():
        yield from _differ(name, getattr(usage, name), sum(len(event.ids) for event in events if belongs(event)), "arrived")
    rounds = tuple(event.round for event in events if isinstance(event, RoundEnded))
    yield from _differ("rounds", len(result.rounds), len(rounds), "arrived")


def _options(job: Job, result: Result) -> Iterator[str]:
    for name, value in job.work.options.items():
        applied = result.effective.get(name)
        if _plain(applied) != _plain(value):
            yield f"{name}: requested {value!r}, applied {applied!r}"


def _differ(name: str, ledger: int, counted: int, verb: str = "add up") -> Iterator[str]:
    if ledger != counted:
        yield f"{name}: the ledger says {ledger}, {counted} {verb}"


def _plain(value: Any) -> Any:
    """Return ``value`` as its tensor holds it, to compare by: a single text as a list, a float rounded to FP32."""
    if isinstance(value, float):
        return struct.unpack("f", struct.pack("f", value))[0]
    return [value] if isinstance(value, str) else value
