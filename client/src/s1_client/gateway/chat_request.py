# SPDX-License-Identifier: Apache-2.0
"""Requests of ``/v1/chat/completions``: their fields, and their messages in the server's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from s1_client.gateway.errors import bad_value, contradiction
from s1_client.gateway.order import (
    MAX_MESSAGES,
    NO_LOGPROBS,
    NO_SCHEMA,
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

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.S)  # earlier turns of clients that keep the thought in the text
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
NOT_EMPTY = "a text that is not empty"
LAST_IS_USERS = "a list whose last message is from the user"
NO_PREFILL = "a list whose last message is from the user: an answer cannot be continued (answer_prefix begins one)"


class TextPart(Strict):
    """A part of a message's content. Images, sounds and files are refused by their type."""

    type: Literal["text", "input_text", "output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: neutral([], why=NO_LOGPROBS) = None  # type: ignore[valid-type]
    prompt_cache_breakpoint: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]


class Message(Strict):
    """A message of a chat. The thought of an earlier turn is accepted in every spelling, and left out of the prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    refusal: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    audio: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    annotations: neutral([], why=NOT_HERE) = None  # type: ignore[valid-type]
    tool_calls: neutral([], why=NO_TOOLS) = None  # type: ignore[valid-type]
    function_call: neutral(why=NO_TOOLS) = None  # type: ignore[valid-type]


class StreamOptions(Strict):
    """``stream_options`` of OpenAI, and vLLM's ``continuous_usage_stats``."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: neutral(False, why=NOT_HERE) = None  # type: ignore[valid-type]


class _ChatRequest(OrderFields):
    """The body of a request of ``/v1/chat/completions``."""

    totals: ClassVar[tuple[str, ...]] = ("max_completion_tokens", "max_tokens", "max_total_tokens")

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    n: int | None = None
    stop: str | list[str] | None = None
    max_completion_tokens: Total | None = None
    max_tokens: Total | None = None
    stream_options: StreamOptions | None = None
    prompt_cache_retention: Text | None = None
    prompt_cache_options: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    modalities: neutral(["text"], why="this server has text alone") = None  # type: ignore[valid-type]
    verbosity: neutral("medium", why=NOT_HERE) = None  # type: ignore[valid-type]
    response_format: neutral({"type": "text"}, why=NO_SCHEMA) = None  # type: ignore[valid-type]
    logprobs: neutral(False, why=NO_LOGPROBS) = None  # type: ignore[valid-type]
    top_logprobs: neutral(0, why=NO_LOGPROBS) = None  # type: ignore[valid-type]
    logit_bias: neutral({}, why="bad_words forbids words") = None  # type: ignore[valid-type]
    tools: neutral([], why=NO_TOOLS) = None  # type: ignore[valid-type]
    tool_choice: neutral("none", "auto", why=NO_TOOLS) = None  # type: ignore[valid-type]
    functions: neutral([], why=NO_TOOLS) = None  # type: ignore[valid-type]
    function_call: neutral("none", "auto", why=NO_TOOLS) = None  # type: ignore[valid-type]
    audio: neutral(why="this server has text alone") = None  # type: ignore[valid-type]
    prediction: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    moderation: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    web_search_options: neutral(why=NO_TOOLS) = None  # type: ignore[valid-type]


ChatRequest = with_server_fields(_ChatRequest)


def chat_order(request: _ChatRequest) -> Order:
    """Return the order of a chat request. Raises Refusal (400)."""
    check_stream_options(request)
    messages, dropped = prompt_of(request.messages)
    return order_of(request, messages, "messages", dropped)


def check_stream_options(request: Any) -> None:
    """Raise Refusal (400) for options of a stream in a request that is not streamed."""
    if request.stream_options is not None and not request.stream:
        raise contradiction("stream_options", "stream", "options of a stream belong to a request with stream: true")


def prompt_of(messages: Sequence[Message]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the messages as the server takes them, and the paths of all parts that were left out.

    Raises Refusal (400) if the last message is not from the user.
    """
    kept: list[dict[str, str]] = []
    dropped: list[str] = []
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        text = text_of(message, path, dropped)
        if not text.strip():
            dropped.append(path)
        else:
            kept.append({"role": ROLES[message.role], "content": text})
    if (last := messages[-1].role) != "user":
        raise bad_value(f"messages[{len(messages) - 1}].role", f'"{last}"', NO_PREFILL if last == "assistant" else LAST_IS_USERS)
    return kept, dropped


def text_of(message: Message, path: str, dropped: list[str]) -> str:
    """Return a message's text, and add to ``dropped`` what was left out of it. Raises Refusal (400) for a user's message without text.

    The text of another role may be empty: its message is to be left out, as chat programs send an empty system prompt.
    """
    names = ("name", "reasoning_content", "reasoning", "reasoning_details")
    dropped.extend(f"{path}.{name}" for name in names if getattr(message, name) is not None)
    text = joined(message.content)
    if message.role == "assistant":
        without = _THOUGHT.sub("", text, count=1)
        if without != text:
            dropped.append(f"{path}.content: <think>")
        return without
    if message.role == "user" and not text.strip():
        raise bad_value(f"{path}.content", "nothing", NOT_EMPTY)
    return text


def system_message(text: str | None, path: str, dropped: list[str]) -> list[dict[str, str]]:
    """Return a request's system prompt as messages: an empty one is none, and is added to ``dropped``."""
    if text is not None and not text.strip():
        dropped.append(path)
    return [{"role": "system", "content": text}] if text is not None and text.strip() else []


def joined(content: str | Sequence[TextPart] | None) -> str:
    """Return a content's text; its parts have a line each."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)
