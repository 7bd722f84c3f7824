# SPDX-License-Identifier: Apache-2.0
"""A teacher behind an OpenAI-compatible chat API. As with the s1 authors, the prompt is the question alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from budgetforce.curating.rows import Row
from budgetforce.curating.teachers.base import Trace
from budgetforce.curating.teachers.chat_api import ChatApi, Rejected
from budgetforce.curating.teachers.chat_reply import trace_of
from budgetforce.curating.teachers.chat_settings import ChatApiSettings
from budgetforce.curating.teachers.workers import each


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISettings(ChatApiSettings):
    """Settings of a teacher behind a chat API.

    ``max_tokens`` limits thought and answer together; a reply that reaches it is dropped. Besides those of a chat API:

    Attributes:
        system: system message; "" = none.
        body: further fields of the request, such as ``reasoning_effort``.
    """

    teacher: Literal["openai"]
    system: str = ""
    temperature: float | None = None
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAITeacher:
    """Sends each question to a chat API."""

    settings: OpenAISettings
    name: str = "openai"
    is_costly: bool = True

    def identity(self) -> dict[str, Any]:
        names = ("teacher", "model", "url", "system", "max_tokens", "temperature", "body")
        return {name: getattr(self.settings, name) for name in names}

    def traces(self, rows: Sequence[Row]) -> Iterator[Trace]:
        api = ChatApi(settings=self.settings)
        return each(rows, lambda row: self._trace(api, row), self.settings.concurrency)

    def _trace(self, api: ChatApi, row: Row) -> Trace:
        date = time.strftime("%Y-%m-%d", time.gmtime())
        try:
            reply = api.complete(self._body(row["question"]), f"question {row['id']}")
        except Rejected as error:
            return Trace(id=row["id"], model=self.settings.model, date=date, reason=error.reason, detail=error.detail)
        return trace_of(row["id"], reply, self.settings.model, date)

    def _body(self, question: str) -> dict[str, Any]:
        system = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        messages = [*system, {"role": "user", "content": question}]
        sampling = {} if self.settings.temperature is None else {"temperature": self.settings.temperature}
        return {
            "model": self.settings.model,
            "messages": messages,
            "max_tokens": self.settings.max_tokens,
            **sampling,
            **self.settings.body,
        }
