# SPDX-License-Identifier: Apache-2.0
"""A teacher behind an OpenAI-compatible chat API. As with the s1 authors, the prompt is the question alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from budgetforce.curating.rows import Row
from budgetforce.curating.settings import check
from budgetforce.curating.teachers.base import Trace
from budgetforce.curating.teachers.chat_api import ChatApi, Endpoint, Rejected
from budgetforce.curating.teachers.chat_reply import trace_of
from budgetforce.curating.teachers.workers import each


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISettings:
    """Settings of a teacher behind a chat API. The fields from ``url`` to ``pause_s`` are those of ``Endpoint``, and:

    Attributes:
        system: system message; "" = none.
        max_tokens: limit of thought and answer together; a reply that reaches it is dropped.
        body: further fields of the request, such as ``reasoning_effort``.
        concurrency: requests in flight.
        usd_per_million_input, usd_per_million_output: prices in US dollars per million tokens, for the estimate of ``--dry-run``.
    """

    teacher: Literal["openai"]
    model: str
    url: str
    key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 600.0
    num_retries: int = 5
    pause_s: float = 2.0
    system: str = ""
    max_tokens: int = 32768
    temperature: float | None = None
    body: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    usd_per_million_input: float = 0.0
    usd_per_million_output: float = 0.0

    def __post_init__(self) -> None:
        check("max_tokens", self.max_tokens, self.max_tokens >= 1, "an integer >= 1")
        check("concurrency", self.concurrency, self.concurrency >= 1, "an integer >= 1")
        self.endpoint()

    def endpoint(self) -> Endpoint:
        """Return where the API is. Raises ConfigError for a value that is not allowed."""
        names = ("url", "key_env", "timeout_s", "num_retries", "pause_s")
        return Endpoint(**{name: getattr(self, name) for name in names})


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
        api = ChatApi(endpoint=self.settings.endpoint())
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
