# SPDX-License-Identifier: Apache-2.0
"""The counts of a run, and the lines of text that report them. No clock, no output."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from s1_client import ConnectionFailed, Outcome, ServerNotReady

MAX_UNREACHED = 20  # a few requests that run together may fail together; without a limit a million would


@dataclass(slots=True, kw_only=True)
class Tally:
    """The counts of a run's requests.

    Attributes:
        num_to_do: requests that the run sends.
        num_skipped: requests whose replies an earlier run stored.
        num_bad_lines: lines of the input that are no request.
        failed: failed requests by the name of the error class.
        num_unreached: the latest requests in a row for which no server could be reached.
    """

    num_to_do: int = 0
    num_skipped: int = 0
    num_bad_lines: int = 0
    num_done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    num_thinking_tokens: int = 0
    num_answer_tokens: int = 0
    num_unreached: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a request that has ended."""
        if outcome.error is None:
            self.num_done += 1
            self.num_thinking_tokens += sum(reply.usage.num_thinking_tokens for reply in outcome.replies)
            self.num_answer_tokens += sum(reply.usage.num_answer_tokens for reply in outcome.replies)
        else:
            self.failed[type(outcome.error).__name__] += 1
        self.num_unreached = self.num_unreached + 1 if isinstance(outcome.error, ConnectionFailed | ServerNotReady) else 0

    @property
    def num_failed(self) -> int:
        """Number of requests that failed."""
        return self.failed.total()

    @property
    def num_left(self) -> int:
        """Number of requests that have not ended."""
        return self.num_to_do - self.num_done - self.num_failed

    @property
    def exit_code(self) -> int:
        """Exit code of a command whose run reached its end."""
        return 2 if self.num_bad_lines else 1 if self.num_failed else 0

    def tokens_per_s(self, elapsed_s: float) -> float:
        """Return the tokens of whole replies per second."""
        return (self.num_thinking_tokens + self.num_answer_tokens) / elapsed_s if elapsed_s else 0.0

    def progress(self, elapsed_s: float) -> str:
        """Return the line that reports a run in progress."""
        num_ended = self.num_done + self.num_failed
        eta = f", {duration(elapsed_s / num_ended * self.num_left)} left" if num_ended else ""
        return (
            f"{num_ended} of {self.num_to_do} in {duration(elapsed_s)}, {self.num_failed} failed, "
            f"{self.tokens_per_s(elapsed_s):.0f} tokens/s{eta}"
        )

    def summary(self, elapsed_s: float) -> str:
        """Return the line that reports a run at its end."""
        kinds = ", ".join(f"{kind} {number}" for kind, number in self.failed.most_common())
        parts = [
            f"{self.num_done} done",
            f"{self.num_skipped} skipped (already there)",
            f"{self.num_failed} failed" + (f" ({kinds})" if kinds else ""),
            *([f"{self.num_left} not ended"] if self.num_left else []),
            *([f"{self.num_bad_lines} bad line{'s' if self.num_bad_lines > 1 else ''}"] if self.num_bad_lines else []),
        ]
        tokens = f"{self.num_thinking_tokens} thinking tokens, {self.num_answer_tokens} answer tokens"
        return f"{', '.join(parts)}; {tokens}; {duration(elapsed_s)}"


def duration(seconds: float) -> str:
    """Return a duration in the units that suit its length: ``3.2 s``, ``4 min 05 s`` or ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
