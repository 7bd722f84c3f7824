# SPDX-License-Identifier: Apache-2.0
"""Requests of ``/v1/responses``: their fields, and their input items in the server's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from s1_client.gateway.chat_request import LAST_IS_USERS, NO_PREFILL, NOT_EMPTY, ROLES, Message, TextPart, system_message, text_of
from s1_client.gateway.errors import bad_value, contradiction
from s1_client.gateway.order import (
    MAX_MESSAGES,
    NO_LOGPROBS,
    NO_SCHEMA,
    NO_STORE,
    NO_TOOLS,
    NOT_HERE,
    Order,
    OrderFields,
    Text,
    Total,
    order_of,
    with_server_fields,
)
from s1_client.gateway.shapes import Strict, neutral
from s1_client.gateway.spellings import ReasoningOptions

Summary = Literal["auto", "concise", "detailed"]
Status = Literal["in_progress", "completed", "incomplete"]


class ResponsesReasoning(ReasoningOptions):
    """``reasoning`` of the Responses API. A summary is the thought itself: this server writes none."""

    summary: Summary | None = None
    generate_summary: Summary | None = None
    mode: Literal["standard"] | None = None
    context: Literal["auto", "current_turn"] | None = None


class MessageItem(Strict):
    """A message among the input items."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    id: str | None = None
    status: Status | None = None
    phase: str | None = None


class ReasoningItem(Strict):
    """The thought of an earlier turn, as a reply had it; it is left out of the prompt."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: list[Any] | None = None
    content: list[Any] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class Format(Strict):
    """The format of the answer: only plain text."""

    type: Literal["text"]


class TextOptions(Strict):
    """Field ``text`` of the Responses API."""

    format: Format | None = None
    verbosity: neutral("medium", why=NOT_HERE) = None  # type: ignore[valid-type]


class StreamOptions(Strict):
    """Field ``stream_options`` of the Responses API."""

    include_obfuscation: neutral(False, why=NOT_HERE) = None  # type: ignore[valid-type]


class _ResponsesRequest(OrderFields):
    """The body of a request of ``/v1/responses``."""

    totals: ClassVar[tuple[str, ...]] = ("max_output_tokens", "max_total_tokens")

    input: str | Annotated[list[MessageItem | ReasoningItem], Field(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    stop: str | list[str] | None = None  # ours: the API has no stop words
    max_output_tokens: Total | None = None
    reasoning: ResponsesReasoning | None = None
    stream_options: StreamOptions | None = None
    include: list[Literal["reasoning.encrypted_content"]] | None = None
    text: TextOptions | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_retention: Text | None = None
    prompt_cache_options: dict[str, Any] | None = None
    truncation: neutral("disabled", why="a prompt is never cut") = None  # type: ignore[valid-type]
    background: neutral(False, why=NO_STORE) = None  # type: ignore[valid-type]
    background_options: neutral(why=NO_STORE) = None  # type: ignore[valid-type]
    previous_response_id: neutral(why=NO_STORE) = None  # type: ignore[valid-type]
    conversation: neutral(why=NO_STORE) = None  # type: ignore[valid-type]
    prompt: neutral(why=NO_STORE) = None  # type: ignore[valid-type]
    tools: neutral([], why=NO_TOOLS) = None  # type: ignore[valid-type]
    tool_choice: neutral("none", "auto", why=NO_TOOLS) = None  # type: ignore[valid-type]
    max_tool_calls: neutral(why=NO_TOOLS) = None  # type: ignore[valid-type]
    top_logprobs: neutral(0, why=NO_LOGPROBS) = None  # type: ignore[valid-type]
    context_management: neutral([], why=NOT_HERE) = None  # type: ignore[valid-type]
    moderation: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    access_programs: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    image: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    response_format: neutral({"type": "text"}, why=NO_SCHEMA) = None  # type: ignore[valid-type]


ResponsesRequest = with_server_fields(_ResponsesRequest)


def responses_order(request: _ResponsesRequest) -> Order:
    """Return the order of a request. Raises Refusal (400)."""
    reasoning = request.reasoning
    if (
        reasoning is not None
        and None not in (reasoning.summary, reasoning.generate_summary)
        and reasoning.summary != reasoning.generate_summary
    ):
        raise contradiction("reasoning.summary", "reasoning.generate_summary", "both say how the thought is sent")
    dropped: list[str] = []
    messages = system_message(request.instructions, "instructions", dropped)
    messages += _question(request.input) if isinstance(request.input, str) else _messages(request.input, dropped)
    return order_of(request, messages, "input", dropped)


def wants_summary(request: _ResponsesRequest) -> bool:
    """Return whether the thought is to go out as a summary: the only form that several large clients show."""
    return request.reasoning is not None and (request.reasoning.summary or request.reasoning.generate_summary) is not None


def _question(text: str) -> list[dict[str, str]]:
    if not text.strip():
        raise bad_value("input", "nothing", NOT_EMPTY)
    return [{"role": "user", "content": text}]


def _messages(items: Sequence[MessageItem | ReasoningItem], dropped: list[str]) -> list[dict[str, str]]:
    messages = []
    for number, item in enumerate(items):
        path = f"input[{number}]"
        if isinstance(item, ReasoningItem):
            dropped.append(path)
            continue
        text = text_of(Message(role=item.role, content=item.content), path, dropped)
        if text.strip():
            messages.append({"role": ROLES[item.role], "content": text})
        else:
            dropped.append(path)
    last = messages[-1]["role"] if messages else "assistant"
    if last != "user":
        raise bad_value(f"input[{len(items) - 1}]", f"an item of the {last}", NO_PREFILL if last == "assistant" else LAST_IS_USERS)
    return messages
