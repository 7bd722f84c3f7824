# SPDX-License-Identifier: Apache-2.0
"""Replies an hour, and the time until the answer begins, at some thinking budgets: estimated from a plan, or from a load test's record.

The estimate is the bound by memory bandwidth times the share of it that an engine has achieved (``planner.ACHIEVED``). It leaves
out prefill, refused ends (each about a decode step) and waiting for a place. A record (run.json of ``s1 loadtest``) is a
measurement of its own replies; at other budgets its tokens a second are only carried over.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetforce.building.planner import ACHIEVED, EnginePlan
from budgetforce.errors import ConfigError

BUDGETS = (1_000, 8_000, 32_000)
PROMPT_TOKENS, ANSWER_TOKENS = 256, 768  # assumed; s1's answers to AIME24 have 650 to 780 tokens on average (arXiv 2501.19393)
RECORD_SCHEMA = "s1-loadtest/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRate:
    """What an engine does with replies that use up a thinking budget.

    Attributes:
        budget_tokens: the thinking budget; at most what the engine's longest sequence leaves for it.
        num_concurrent: replies that decode concurrently.
        replies_per_hour: of all of them together.
        answer_alone_s: seconds until the answer of a reply begins that decodes alone.
        answer_s: the same with ``num_concurrent`` replies.
    """

    budget_tokens: int
    num_concurrent: int
    replies_per_hour: float
    answer_alone_s: float
    answer_s: float


def reply_rates(made: EnginePlan) -> list[ReplyRate]:
    """Return the estimates for ``BUDGETS``, cut to the engine's longest sequence; none if no speed is known or no reply fits."""
    longest = made.spec.max_seq_len - PROMPT_TOKENS - ANSWER_TOKENS
    budgets = dict.fromkeys(min(budget, longest) for budget in BUDGETS)
    return [rate for budget in budgets if budget > 0 and (rate := _rate(made, budget)) is not None]


def _rate(made: EnginePlan, budget: int) -> ReplyRate | None:
    num = min(made.spec.max_batch_size, made.kv_tokens // (PROMPT_TOKENS + budget + ANSWER_TOKENS))
    mean_context = PROMPT_TOKENS + (budget + ANSWER_TOKENS) // 2
    together, alone = (made.decode(number, mean_context) if number else None for number in (num, min(num, 1)))
    if together is None or alone is None:
        return None
    return ReplyRate(
        budget_tokens=budget,
        num_concurrent=num,
        replies_per_hour=3600 * together.tokens_per_s * ACHIEVED / (budget + ANSWER_TOKENS),
        answer_alone_s=budget * alone.step_s / ACHIEVED,
        answer_s=budget * together.step_s / ACHIEVED,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLevel:
    """A level of a load test.

    Attributes:
        load: "16 concurrent", or "2.5 a second".
        tokens_per_s: sampled tokens of all complete replies.
        replies_per_hour: complete replies.
        thinking_tokens, answer_tokens: means of a reply.
        answer_s: median time until the answer began; None if the replies were not streamed.
    """

    load: str
    tokens_per_s: float
    replies_per_hour: float
    thinking_tokens: float
    answer_tokens: float
    answer_s: float | None

    def replies_per_hour_at(self, budget_tokens: int) -> float:
        """Return the rate at a budget if the tokens a second stayed as they were; with longer contexts they get fewer."""
        return 3600 * self.tokens_per_s / (budget_tokens + ANSWER_TOKENS)


def read_levels(path: Path) -> list[MeasuredLevel]:
    """Read the levels of a load test's record that have complete replies. Raises ConfigError for a file that is no such record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != RECORD_SCHEMA:
            raise ConfigError(f"{path}: schema: got {record['schema']!r}, allowed: {RECORD_SCHEMA!r}")
        levels = [_level(level, done) for level in record["levels"] if (done := [r for r in level["requests"] if r["end"] == "done"])]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path}: no run.json of s1 loadtest ({type(error).__name__}: {error})") from None
    if not levels:
        raise ConfigError(f"{path}: the load test has no complete reply")
    return levels


def _level(level: dict[str, Any], done: list[dict[str, Any]]) -> MeasuredLevel:
    thinking, answers = ([request[name] for request in done] for name in ("num_thinking_tokens", "num_answer_tokens"))
    sampled = sum(thinking) + sum(answers) - sum(request["num_injected_tokens"] for request in done)
    begun = [request["time_to_first_answer_token_ms"] for request in done if request["time_to_first_answer_token_ms"] is not None]
    return MeasuredLevel(
        load=f"{level['value']:g} concurrent" if level["mode"] == "concurrency" else f"{level['value']:g} a second",
        tokens_per_s=sampled / level["duration_s"],
        replies_per_hour=3600 * len(done) / level["duration_s"],
        thinking_tokens=statistics.mean(thinking),
        answer_tokens=statistics.mean(answers),
        answer_s=statistics.median(begun) / 1e3 if begun else None,
    )


def estimate_lines(rates: list[ReplyRate]) -> Iterator[str]:
    """Yield the table of estimates for people; nothing without estimates."""
    if not rates:
        return
    yield f"\n{'thinking':<10}{'concurrent':>11}{'replies/h':>11}   answer begins after (alone)   estimated at {ACHIEVED:.0%} of the bound"
    for rate in rates:
        after = f"{_duration(rate.answer_s)} ({_duration(rate.answer_alone_s)})"
        yield f"{rate.budget_tokens:<10,}{rate.num_concurrent:>11}{rate.replies_per_hour:>11,.0f}   {after}"


def measured_lines(path: Path, levels: list[MeasuredLevel], budgets: list[int]) -> Iterator[str]:
    """Yield the measurements of a record for people, and what they give at other budgets."""
    yield f"\nmeasured by a load test ({path.name}); at other budgets its tokens/s, which longer contexts lower, are carried over:"
    for level in levels:
        after = "" if level.answer_s is None else f", answer after {_duration(level.answer_s)}"
        of = f"replies of {level.thinking_tokens:,.0f} + {level.answer_tokens:,.0f} tokens"
        yield f"{level.load}: {level.tokens_per_s:,.0f} tokens/s, {level.replies_per_hour:,.0f} {of} an hour{after}"
        yield "  carried over: " + ", ".join(f"{level.replies_per_hour_at(budget):,.0f} an hour at {budget:,}" for budget in budgets)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
