# SPDX-License-Identifier: Apache-2.0
"""What a reply has cost so far, and the words for it. No clock: it is told the time (of ``time.monotonic``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from s1_client import AnswerDelta, AnswerOpened, Event, Injected, Result, RoundEnded, ThinkingDelta

WINDOW_S = 4.0  # of the tokens a second
_MIN_WINDOW_S = 0.5  # before, a rate says nothing
_DROPPED_FIRST = ("rate", "eta", "wait", "thinking")  # where a line has no room for all
_SEPARATOR = " · "


class Meter:
    """Counts a sample's tokens as they come.

    Attributes:
        cap: of the thinking, if it is known.
        num_refused: ends of thinking.
        first_token_s: from the start.
    """

    def __init__(self, options: Mapping[str, Any], started: float) -> None:
        asked = options.get("max_thinking_tokens", -1)
        self.cap: int | None = asked if asked > 0 else None
        self.num_refused = 0
        self.num_thinking = 0
        self.num_answer = 0
        self.first_token_s: float | None = None
        self._num_ignore = options.get("num_ignore")
        self._answer_cap = options.get("max_tokens")
        self._answers = False
        self._started = started
        self._recent: deque[tuple[float, int]] = deque()
        self._num_recent = 0

    def add(self, event: Event, at: float) -> None:
        """An event that came at that time."""
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
        self._answers = self._answers or isinstance(event, AnswerOpened | AnswerDelta)

    def _sampled(self, num_ids: int, at: float) -> None:
        if self.first_token_s is None:
            self.first_token_s = at - self._started
        self._recent.append((at, num_ids))
        self._num_recent += num_ids

    def rate(self, now: float) -> float | None:
        """Tokens a second of late; None if it is too early to tell."""
        while self._recent and self._recent[0][0] < now - WINDOW_S:
            self._num_recent -= self._recent.popleft()[1]
        if self.first_token_s is None:
            return None
        span_s = min(WINDOW_S, now - self._started - self.first_token_s)
        return self._num_recent / span_s if span_s >= _MIN_WINDOW_S else None

    def eta_s(self, now: float) -> float | None:
        """When the budget will be spent at this rate, if there is one."""
        rate = self.rate(now)
        if self._answers or self.cap is None or not rate:
            return None
        return max(self.cap - self.num_thinking, 0) / rate

    def share(self) -> float | None:
        """How much of the budget is spent, 0 to 1."""
        return None if self.cap is None else min(self.num_thinking / self.cap, 1.0)

    def line(self, now: float, width: int) -> str:
        """All of it in a line of at most so many characters; what matters least is left out."""
        parts = self._parts(now)
        for name in _DROPPED_FIRST:
            if len(_SEPARATOR.join(parts.values())) > width and len(parts) > 1:
                parts.pop(name, None)
        line = _SEPARATOR.join(parts.values())
        return line if len(line) <= width else f"{line[: width - 1]}…"

    def _parts(self, now: float) -> dict[str, str]:
        if self.first_token_s is None:
            return {"wait": f"waiting {clock(now - self._started)}"}
        rate, eta_s = self.rate(now), self.eta_s(now)
        parts = {"thinking": f"thinking {_of(self.num_thinking, self.cap)}"}
        if self.num_refused or self._num_ignore:
            refusable = self._num_ignore if self.num_refused <= (self._num_ignore or 0) else None  # a floor refuses more
            parts["wait"] = f"wait {_of(self.num_refused, refusable)}"
        if self._answers:
            parts["answer"] = f"answer {_of(self.num_answer, self._answer_cap)}"
        if rate is not None:
            parts["rate"] = f"{rate:.0f} tok/s"
        if eta_s is not None:
            parts["eta"] = f"ETA {clock(eta_s)}"
        return parts


def _of(number: int, total: int | None) -> str:
    return f"{number:,}" if total is None else f"{number:,}/{total:,}"


def clock(seconds: float) -> str:
    """As "1:05", or "1:01:05"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def account(result: Result, first_token_s: float) -> str:
    """One line: tokens, time to first token, tokens a second, and why each phase ended."""
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
