# SPDX-License-Identifier: Apache-2.0
"""Let a language model behind a chat API choose the domain of each question; a code that is not in the list is not taken."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from budgetforce.curating.answers import Answers
from budgetforce.curating.domains import code_in, domain_prompt, domains
from budgetforce.curating.progress import ProgressLine
from budgetforce.curating.rows import Row
from budgetforce.curating.settings import check_at_least
from budgetforce.curating.teachers.base import Trace
from budgetforce.curating.teachers.chat_api import ChatApi, Rejected
from budgetforce.curating.teachers.chat_settings import ChatApiSettings
from budgetforce.curating.teachers.workers import each


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainModel(ChatApiSettings):
    """A language model behind a chat API that chooses domains. Besides the settings of a chat API:

    Attributes:
        num_tries: replies that are requested until one ends in a code of the list; after them the domain stays unknown.
    """

    max_tokens: int = 1024
    num_tries: int = 3

    def __post_init__(self) -> None:
        ChatApiSettings.__post_init__(self)  # super() does not find the class that slots=True makes anew
        check_at_least(self, 1, "num_tries")

    def identity(self) -> dict[str, Any]:
        """Return what a kept reply depends on."""
        listed = [[domain.code, domain.title, domain.description] for domain in domains()]
        return {"teacher": "domain", "model": self.model, "url": self.url, "max_tokens": self.max_tokens, "domains": listed}


def chosen_domains(rows: Sequence[Row], model: DomainModel, answers: Answers) -> list[str | None]:
    """Return the domain's code of each row; None if no reply named one. Raises BuildFailed if the API fails altogether."""
    identity, api = model.identity(), ChatApi(settings=model)
    known = answers.known(identity)
    unknown = [row for row in rows if row["id"] not in known]
    line = ProgressLine("features: domains", len(unknown))
    try:
        for chosen in each(unknown, lambda row: _choice(row, model, api), model.concurrency):
            known[chosen.id] = chosen
            if chosen.is_final:
                answers.keep(identity, chosen)
            line.advance()
    finally:
        line.close()
    return [known[row["id"]].attempt or None for row in rows]


def _choice(row: Row, model: DomainModel, api: ChatApi) -> Trace:
    date, reply = time.strftime("%Y-%m-%d", time.gmtime()), ""
    messages = [{"role": "user", "content": domain_prompt(row["question"])}]
    body = {"model": model.model, "messages": messages, "max_tokens": model.max_tokens}
    for _ in range(model.num_tries):
        try:
            reply = _content(api.complete(body, f"question {row['id']}"))
        except Rejected as error:
            return Trace(id=row["id"], model=model.model, date=date, reason=error.reason, detail=error.detail)
        if code := code_in(reply):
            return Trace(id=row["id"], attempt=code, model=model.model, date=date)
    return Trace(id=row["id"], model=model.model, date=date, reason="no-code", detail=reply[-200:])


def _content(body: bytes) -> str:
    try:
        return str(json.loads(body)["choices"][0]["message"]["content"] or "")
    except (ValueError, LookupError, TypeError):
        return ""
