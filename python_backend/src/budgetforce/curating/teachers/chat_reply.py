# SPDX-License-Identifier: Apache-2.0
"""Read thought and answer from the reply of an OpenAI-compatible chat API. Pure.

The thought is in ``reasoning_content`` (DeepSeek, SGLang), in ``reasoning`` (vLLM, OpenRouter), or in the content between
``<think>`` and ``</think>``; a template that opens the thought itself leaves only ``</think>`` in the content.
"""

from __future__ import annotations

import json
from typing import Any

from budgetforce.curating.teachers.base import GARBAGE, NO_REPLY, Trace
from budgetforce.errors import shorten

_OPEN, _CLOSE = "<think>", "</think>"
# finish_reason of a whole reply: OpenAI's "stop", and what other servers call it.
_WHOLE = (None, "", "stop", "eos", "eos_token", "end_turn", "stop_sequence")
# Of a reply that the server broke off: "abort" by SGLang and vLLM, "error" by OpenRouter, the last by DeepSeek.
_BROKEN_OFF = ("abort", "error", "insufficient_system_resource")


def trace_of(key: str, body: bytes, model: str, date: str) -> Trace:
    """Return the trace in a reply; one with a reason if there is none, or if the reply was cut."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message: dict[str, Any] = choice["message"]
        content, thinking = _texts(message)
        f"{content}{thinking}".encode()  # fails for half a character, which no file of rows can hold
    except (ValueError, LookupError, TypeError, AttributeError):
        return Trace(id=key, model=model, date=date, reason=GARBAGE, detail=shorten(body.decode(errors="replace"), 200))
    finish = choice.get("finish_reason")
    reason = _reason(finish, thinking, content)
    return Trace(
        id=key,
        thinking=thinking or "",
        attempt=content.strip(),
        model=_model(data, model),
        date=date,
        reason=reason,
        detail=f"finish_reason {shorten(finish)}: {shorten(content, 200)}" if reason else "",
        num_tokens=_num_tokens(data),
    )


def _texts(message: dict[str, Any]) -> tuple[str, str | None]:
    """Return content without the thought, and the thought; None if it has no end."""
    content = message.get("content") or ""
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(content, str) or not isinstance(thinking, str | None):
        raise TypeError("content is no text")
    if thinking is not None:
        return content, thinking.strip()
    if _CLOSE in content:
        thought, _, answer = content.partition(_CLOSE)
        return answer, thought.strip().removeprefix(_OPEN).strip()
    return (content, None) if _OPEN in content else (content, "")


def _reason(finish: Any, thinking: str | None, content: str) -> str:
    if finish in _BROKEN_OFF:
        return NO_REPLY
    if finish not in _WHOLE:  # "length", "content_filter", and whatever else is not known as a whole reply
        return "cut"
    if thinking is None:
        return "no-end"
    if not thinking:
        return "empty-thinking"
    return "" if content.strip() else "empty-answer"


def _model(data: dict[str, Any], requested: str) -> str:
    named = data.get("model")
    return named if isinstance(named, str) and named else requested


def _num_tokens(data: dict[str, Any]) -> int | None:
    usage = data.get("usage")
    number = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return number if isinstance(number, int) else None
