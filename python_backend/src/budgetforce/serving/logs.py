# SPDX-License-Identifier: Apache-2.0
"""The log of model ``s1``: a line for each request that ended, and messages for the operator. Independent of Triton.

A line is text or a JSON object; Triton adds the time. Prompts and refused field values stay out of it unless ``log_prompts`` is
on. The exception is the traceback of a bug (code INTERNAL), in which Python may quote a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from traceback import format_exc
from typing import Any

from budgetforce.config import LOG_LEVELS, OrchestratorConfig
from budgetforce.errors import BudgetForceError, Cancelled, InvalidRequest, Overloaded, shorten
from budgetforce.serving.requests.bounds import MAX_ID_BYTES

MAX_PROMPT_CHARS = 2000  # of a prompt in the log
_MAX_NAME_CHARS = 6 * MAX_ID_BYTES + 2  # JSON writes a byte of an id as at most 6 characters, and adds quotes
_CALLERS_DOING = {InvalidRequest.code, Overloaded.code, Cancelled.code}  # nothing that an operator must act on

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnd:
    """How a request ended.

    Attributes:
        name: the client's name for it.
        error: the error that ended it; None = its reply is complete.
        engine: name of the engine model.
        num_rounds, num_tokens: progress, over all its samples.
        duration_ms: from its arrival to its end.
        tenant: whose it was; "" = it named none.
        account: its tokens, causes and times, for lines in JSON alone.
        prompt: text_input or messages, as it was sent (UTF-8).
        traceback: of a bug.
    """

    name: str
    error: BudgetForceError | None
    engine: str
    num_rounds: int
    num_tokens: int
    duration_ms: float
    prompt: bytes
    tenant: str = ""
    account: Mapping[str, Any] = field(default_factory=dict)
    traceback: str | None = None


def code_of(error: BudgetForceError | None) -> str:
    """Return the code of the error that ended a request, "done" if there is none."""
    return "done" if error is None else error.code


def level_of(error: BudgetForceError | None) -> str:
    """Return the level of the line of a request that ended with ``error``; None = its reply is complete."""
    if error is None:
        return "debug"
    if error.code == BudgetForceError.code:  # INTERNAL: a bug
        return "error"
    return "info" if error.code in _CALLERS_DOING else "warning"


class ServerLog:
    """Writes the lines at or above a level. Safe to use from several threads if its writers are.

    A line whose writer raises is lost: the request that it is about must still be answered.
    """

    def __init__(self, writers: Mapping[str, Write], *, level: str = "info", is_json: bool = False, shows_prompts: bool = False) -> None:
        """``writers``: a function that writes a line, for each of ``LOG_LEVELS``."""
        self._writers = {name: writers[name] for name in LOG_LEVELS[LOG_LEVELS.index(level) :]}
        self._is_json = is_json
        self._shows_prompts = shows_prompts

    @classmethod
    def from_config(cls, config: OrchestratorConfig, writers: Mapping[str, Write]) -> ServerLog:
        """Return the log that the model's parameters describe."""
        return cls(writers, level=config.log_level, is_json=config.log_format == "json", shows_prompts=config.log_prompts == "on")

    def warning(self, message: str) -> None:
        """Write a message about something that an operator should look at."""
        self._write("warning", message, {"event": "message", "message": message})

    def error(self, message: str) -> None:
        """Write a message about something that failed."""
        self._write("error", message, {"event": "message", "message": message})

    def exception(self, message: str) -> None:
        """Write a message with the traceback of the exception that is being handled: a bug."""
        traceback = format_exc()
        self._write("error", f"{message}\n{traceback}", {"event": "message", "message": message, "traceback": traceback})

    def shows(self, level: str) -> bool:
        """Return whether lines of this level are written."""
        return level in self._writers

    def request_ended(self, end: RequestEnd) -> None:
        """Write the line of a request that has ended."""
        level = level_of(end.error)
        if not self.shows(level):
            return
        fields = self._fields_of(end)
        progress = f"{end.num_rounds} rounds and {end.num_tokens} tokens in {end.duration_ms / 1e3:.1f} s"
        whose = f" of tenant {end.tenant}" if end.tenant else ""
        what = f"request {shorten(end.name, _MAX_NAME_CHARS)}{whose} on {end.engine}"
        text = f"{what} after {progress}: {code_of(end.error)}: {fields['message']}"
        if "prompt" in fields:
            text += f"; prompt: {json.dumps(fields['prompt'], ensure_ascii=False)}"
        if end.traceback is not None:
            text += f"\n{end.traceback}"
        self._write(level, text, fields)

    def _fields_of(self, end: RequestEnd) -> dict[str, Any]:
        fields = {
            "event": "request_ended",
            "request_id": end.name,
            "tenant": end.tenant,
            "code": code_of(end.error),
            "message": "complete" if end.error is None else self._message_of(end.error),
            "engine": end.engine,
            "num_rounds": end.num_rounds,
            "num_tokens": end.num_tokens,
            "duration_ms": end.duration_ms,
            **end.account,
        }
        if self._shows_prompts:
            fields["prompt"] = end.prompt[: 4 * MAX_PROMPT_CHARS].decode(errors="replace")[:MAX_PROMPT_CHARS]
        if end.traceback is not None:
            fields["traceback"] = end.traceback
        return fields

    def _message_of(self, error: BudgetForceError) -> str:
        """Return the error's message on one line; of a refusal, which quotes field values and so prompts, only the field."""
        if isinstance(error, InvalidRequest) and not self._shows_prompts:
            return f"field '{error.field}'"
        return " ".join(str(error).removeprefix(f"{error.code}: ").split())

    def _write(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        write = self._writers.get(level)
        if write is None:
            return
        with suppress(Exception):
            write(json.dumps({"level": level, **fields}) if self._is_json else f"s1: {text}")
