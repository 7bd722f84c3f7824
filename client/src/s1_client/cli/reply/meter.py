# SPDX-License-Identifier: Apache-2.0
"""Count a reply's tokens while they arrive, and format the line of figures. Callers pass the time (``time.monotonic``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from s1_client import AnswerDelta, AnswerOpened, Event, Injected, Result, RoundEnded, ThinkingDelta

WINDOW_S = 4.0  # over which tokens/s is averaged
_MIN_WINDOW_S = 0.5  # over a shorter time no rate is shown
_DROP_ORDER = ("rate", "eta", "refused", "thinking")  # of the parts, when the line is too long; what is not listed stays
_SEPARATOR = " · "


class Meter:
    """Counts a sample's tokens while they arrive.

    Attributes:
        cap: the thinking budget, if known.
        num_refused: refused ends of thinking.
        first_token_s: time from the start to the first sampled token.
    """

    def __init__(self, options: Mapping[str, Any], started: float) -> None:
        budget = options.get("max_thinking_tokens", -1)
        self.cap: int | None = budget if budget > 0 else None
        self.num_refused = 0
        self.num_thinking = 0
        self.num_answer = 0
        self.first_token_s: float | None = None
        self._num_ignore = options.get("num_ignore")
        self._answer_cap = options.get("max_tokens")
        self._has_answer = False
        self._started = started
        self._recent: deque[tuple[float, int]] = deque()
        self._num_recent = 0

    def add(self, event: Event, at: float) -> None:
        """Count an event that arrived at the time ``at``."""
        match event:
            case ThinkingDelta(ids=ids):
                self.num_thinking += len(ids)
                self._sampled(len(ids), at)
            case AnswerDelta(ids=ids):
                self.num_answer += len(ids)
                self._sampled(len(ids), at)
            case Injected(phase="thinking", ids=ids):
                self.num_thinking += len(ids)
            case RoundEnded(round=ended) if ended.refused_for:
                self.num_refused += 1
        self._has_answer = self._has_answer or isinstance(event, AnswerOpened | AnswerDelta)

    def _sampled(self, num_ids: int, at: float) -> None:
        if self.first_token_s is None:
            self.first_token_s = at - self._started
        self._recent.append((at, num_ids))
        self._num_recent += num_ids

    def rate(self, now: float) -> float | None:
        """Return the recent tokens/s; None in the first half second after the first token."""
        while self._recent and self._recent[0][0] < now - WINDOW_S:
            self._num_recent -= self._recent.popleft()[1]
        if self.first_token_s is None:
            return None
        span_s = min(WINDOW_S, now - self._started - self.first_token_s)
        return self._num_recent / span_s if span_s >= _MIN_WINDOW_S else None

    def eta_s(self, now: float) -> float | None:
        """Return the seconds until the thinking budget is spent at the recent rate; None without a budget or rate."""
        rate = self.rate(now)
        if self._has_answer or self.cap is None or not rate:
            return None
        return max(self.cap - self.num_thinking, 0) / rate

    def share(self) -> float | None:
        """Return the spent share of the thinking budget, 0 to 1; None without a budget."""
        return None if self.cap is None else min(self.num_thinking / self.cap, 1.0)

    def line(self, now: float, width: int) -> str:
        """Return all figures in a line of at most ``width`` characters; the least important are dropped first."""
        parts = self._parts(now)
        for name in _DROP_ORDER:
            if len(_SEPARATOR.join(parts.values())) > width and len(parts) > 1:
                parts.pop(name, None)
        line = _SEPARATOR.join(parts.values())
        return line if len(line) <= width else f"{line[: width - 1]}…"

    def _parts(self, now: float) -> dict[str, str]:
        if self.first_token_s is None:
            return {"waiting": f"waiting {clock(now - self._started)}"}
        rate, eta_s = self.rate(now), self.eta_s(now)
        parts = {"thinking": f"thinking {_of(self.num_thinking, self.cap)}"}
        if self.num_refused or self._num_ignore:
            limit = self._num_ignore if self.num_refused <= (self._num_ignore or 0) else None  # min_thinking_tokens refuses more
            parts["refused"] = f"refused {_of(self.num_refused, limit)}"
        if self._has_answer:
            parts["answer"] = f"answer {_of(self.num_answer, self._answer_cap)}"
        if rate is not None:
            parts["rate"] = f"{rate:.0f} tok/s"
        if eta_s is not None:
            parts["eta"] = f"ETA {clock(eta_s)}"
        return parts


def _of(number: int, total: int | None) -> str:
    return f"{number:,}" if total is None else f"{number:,}/{total:,}"


def clock(seconds: float) -> str:
    """Format a duration as "1:05" or "1:01:05"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ledger_line(result: Result, first_token_s: float) -> str:
    """Return a line with the token counts, time to first token, tokens/s, and the reason that ended each phase."""
    usage = result.usage
    num_sampled = usage.num_thinking_sampled + usage.num_answer_tokens + usage.num_terminators
    budget = f"/{result.effective['max_thinking_tokens']}" if result.effective["thinking"] == "forced" else ""
    return _SEPARATOR.join(
        [
            f"thinking {usage.num_thinking_tokens}{budget} tokens ({result.thinking_end} end)",
            f"injected {usage.num_thinking_injected + usage.num_answer_injected} (ends refused: {usage.num_ignored})",
            f"answer {usage.num_answer_tokens} tokens ({result.answer_end} end)",
            f"first token {first_token_s * 1e3:.0f} ms",
            f"{num_sampled / (result.total_ms / 1e3):.0f} tokens/s",
        ]
    )
