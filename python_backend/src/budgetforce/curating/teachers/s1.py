# SPDX-License-Identifier: Apache-2.0
"""Our own served model as a teacher, with a thinking budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.rows import Row
from budgetforce.curating.settings import check
from budgetforce.curating.teachers.base import NO_REPLY, REJECTED, Trace
from s1_client import Client, DeadlineExceeded, InvalidRequest, Reply, Request, S1Error


@dataclass(frozen=True, slots=True, kw_only=True)
class S1Settings:
    """Settings of our served model as a teacher.

    Attributes:
        url: host and port of Triton's gRPC endpoint; "" = ``$S1_URL``, else 127.0.0.1:8001.
        model: name of the model, for the rows' provenance.
        options: request fields, such as ``max_thinking_tokens`` and ``num_ignore``.
        on_cut_thinking: whether a thought is kept that the budget has cut; by default it is dropped, since it has no end.
        concurrency: requests in flight.
        deadline_s: limit of a request with its retries, in seconds.
    """

    teacher: Literal["s1"]
    url: str = ""
    model: str = "s1"
    options: dict[str, Any] = field(default_factory=dict)
    on_cut_thinking: Literal["drop", "keep"] = "drop"
    concurrency: int = 32
    deadline_s: float = 1800.0

    def __post_init__(self) -> None:
        check("concurrency", self.concurrency, self.concurrency >= 1, "an integer >= 1")
        check("deadline_s", self.deadline_s, self.deadline_s > 0, "a number > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class S1Teacher:
    """Sends each question to a server of ours."""

    settings: S1Settings
    name: str = "s1"
    is_costly: bool = True

    def identity(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in ("teacher", "url", "model", "options", "on_cut_thinking")}

    def traces(self, rows: Sequence[Row]) -> Iterator[Trace]:
        requests = [Request(prompt=row["question"]) for row in rows]
        has_replied = False
        try:
            with Client(self.settings.url or None, deadline_s=self.settings.deadline_s) as client:
                for outcome in client.map(requests, concurrency=self.settings.concurrency, ordered=False, **self.settings.options):
                    has_replied = has_replied or outcome.error is None
                    if outcome.error is not None and _ends_all(outcome.error, has_replied):
                        raise outcome.error
                    yield self._trace(rows[outcome.index]["id"], outcome.error or outcome.reply)
        except (S1Error, TypeError, ValueError) as error:
            raise BuildFailed(f"teacher s1: {error}; replies so far are kept: run it again") from None

    def _trace(self, key: str, reply: Reply | Exception) -> Trace:
        date = time.strftime("%Y-%m-%d", time.gmtime())
        if isinstance(reply, Exception):
            return Trace(id=key, model=self.settings.model, date=date, reason=_reason(reply), detail=str(reply))
        is_cut = reply.thinking_end != "natural" and self.settings.on_cut_thinking == "drop"
        reason = "no-end" if is_cut else "cut" if reply.answer_end in ("length", "deadline") else ""
        return Trace(
            id=key,
            thinking=reply.thinking.strip(),
            attempt=reply.answer.strip(),
            model=self.settings.model,
            date=date,
            reason=reason,
            detail=f"thinking ended by {reply.thinking_end}, answer by {reply.answer_end}" if reason else "",
            num_tokens=reply.usage.num_output_ids,
        )


def _ends_all(error: Exception, has_replied: bool) -> bool:
    """Return whether an error concerns every question: not if the prompt is refused, nor if a single one takes too long."""
    if isinstance(error, DeadlineExceeded):
        return not has_replied
    return not (isinstance(error, InvalidRequest) and error.field in ("text_input", "messages", "prompt"))


def _reason(error: Exception) -> str:
    return NO_REPLY if isinstance(error, DeadlineExceeded) else REJECTED
