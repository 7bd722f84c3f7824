# SPDX-License-Identifier: Apache-2.0
"""What a teacher returns for a question: a thought and an answer, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from budgetforce.curating.rows import Row

# Reasons of a question that no model has replied to.
NO_REPLY, REJECTED, GARBAGE = "no-reply", "rejected", "garbage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The reply of a teacher to one question.

    Attributes:
        id: the question's.
        date: day of the reply in UTC, ISO 8601; None if it is not known, or of no matter, as with a rule.
        reason: why the row is to be dropped; "" if the reply is usable.
        detail: what the reason does not say.
        num_tokens: tokens of the reply as the teacher counts them; None if it does not.
    """

    id: str
    thinking: str = ""
    attempt: str = ""
    model: str | None = None
    date: str | None = None
    reason: str = ""
    detail: str = ""
    num_tokens: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether a model has replied, so that the question need not be sent again.

        A server that rejected it may accept it in a later run, for example with a longer context.
        """
        return self.reason not in (NO_REPLY, REJECTED, GARBAGE)


class Teacher(Protocol):
    """A source of thoughts and answers."""

    @property
    def name(self) -> str:
        """The kind of teacher, as in the recipe."""
        ...

    @property
    def is_costly(self) -> bool:
        """Whether its replies are kept for later runs."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return the settings that a kept reply depends on, as JSON values."""
        ...

    def traces(self, rows: Sequence[Row]) -> Iterable[Trace]:
        """Yield a trace for each row, in any order. Raises BuildFailed if no further question can be answered."""
        ...


def whole(trace: Trace) -> Trace:
    """Return the trace, or one with a reason if its thought or answer is empty."""
    reason = trace.reason or ("empty-thinking" if not trace.thinking.strip() else "empty-answer" if not trace.attempt.strip() else "")
    if reason == trace.reason:
        return trace
    detail = (trace.thinking.strip() or trace.attempt.strip())[:200]
    return Trace(id=trace.id, model=trace.model, date=trace.date, reason=reason, detail=detail)


def each_whole(traces: Iterable[Trace]) -> Iterator[Trace]:
    """Yield each trace as ``whole`` returns it."""
    return map(whole, traces)
