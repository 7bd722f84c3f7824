# SPDX-License-Identifier: Apache-2.0
"""Requests of ``/v1/messages``, Anthropic's API: their fields, and their messages in the server's words.

``max_tokens`` bounds thinking and answer together, there as here, and ``thinking.budget_tokens`` is below it. A budget may be any
number, and is kept exactly. Without ``thinking`` the preset decides, while Anthropic's models do not think then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from s1_client.gateway.chat_request import NO_PREFILL, NOT_EMPTY, system_message
from s1_client.gateway.errors import bad_value
from s1_client.gateway.order import (
    MAX_MESSAGES,
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


class TextBlock(Strict):
    """A text of a message or of the system prompt."""

    type: Literal["text"]
    text: str
    citations: neutral([], why=NOT_HERE) = None  # type: ignore[valid-type]
    cache_control: dict[str, Any] | None = None  # a hint; the engine reuses the KV cache by itself


class ThinkingBlock(Strict):
    """The thought of an earlier turn; it is left out of the prompt."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedBlock(Strict):
    """A hidden thought of an earlier turn; it is left out of the prompt."""

    type: Literal["redacted_thinking"]
    data: str


Block = TextBlock | ThinkingBlock | RedactedBlock


class AnthropicMessage(Strict):
    """A message of the user or the assistant."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class _MessagesRequest(OrderFields):
    """The body of a request of ``/v1/messages``."""

    totals: ClassVar[tuple[str, ...]] = ("max_tokens", "max_total_tokens")

    max_tokens: Total
    messages: Annotated[list[AnthropicMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[TextBlock] | None = None
    stop_sequences: list[str] | None = None
    cache_control: dict[str, Any] | None = None
    user_profile_id: Text | None = None
    workspace_id: Text | None = None
    inference_geo: Text | None = None
    speed: neutral("standard", why=NOT_HERE) = None  # type: ignore[valid-type]
    diagnostics: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    service_tier: neutral("auto", "standard_only", why=NOT_HERE) = None  # type: ignore[valid-type]
    tools: neutral([], why=NO_TOOLS) = None  # type: ignore[valid-type]
    tool_choice: neutral({"type": "none"}, {"type": "auto"}, why=NO_TOOLS) = None  # type: ignore[valid-type]
    mcp_servers: neutral([], why=NO_TOOLS) = None  # type: ignore[valid-type]
    container: neutral(why=NO_TOOLS) = None  # type: ignore[valid-type]
    context_management: neutral(why=NOT_HERE) = None  # type: ignore[valid-type]
    output_format: neutral(why=NO_SCHEMA) = None  # type: ignore[valid-type]


MessagesRequest = with_server_fields(_MessagesRequest)


def messages_order(request: _MessagesRequest) -> Order:
    """Return the order of a request. Raises Refusal (400)."""
    dropped: list[str] = []
    system = None if request.system is None else _joined(request.system, "system", dropped)
    messages = system_message(system, "system", dropped)
    for number, message in enumerate(request.messages):
        messages += _message(message, f"messages[{number}]", dropped)
    if request.messages[-1].role != "user":
        raise bad_value(f"messages[{len(request.messages) - 1}].role", '"assistant"', NO_PREFILL)
    return order_of(request, messages, "messages", dropped)


def _message(message: AnthropicMessage, path: str, dropped: list[str]) -> list[dict[str, str]]:
    """Return the message as the server takes it, or nothing for an assistant's turn without an answer."""
    text = _joined(message.content, f"{path}.content", dropped)
    if text.strip():
        return [{"role": message.role, "content": text}]
    if message.role == "user":
        raise bad_value(f"{path}.content", "nothing", NOT_EMPTY)
    dropped.append(path)
    return []


def _joined(content: str | Sequence[Block], path: str, dropped: list[str]) -> str:
    if isinstance(content, str):
        return content
    dropped.extend(f"{path}[{number}]" for number, block in enumerate(content) if not isinstance(block, TextBlock))
    return "\n".join(block.text for block in content if isinstance(block, TextBlock))
