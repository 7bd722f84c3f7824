# SPDX-License-Identifier: Apache-2.0
"""Checks of chats that people write, in a file of questions or for ``s1 ask --messages``."""

from __future__ import annotations

import json
from typing import Any


def chat_of(messages: Any) -> list[dict[str, str]]:
    """Return ``messages`` if they are a chat. Raises ValueError if not; the roles and their order are left to the server."""
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise ValueError(f'messages: got {short(messages)}, allowed: a list of {{"role": "…", "content": "…"}}')
    return messages


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.keys() == {"role", "content"} and all(isinstance(text, str) for text in message.values())


def short(data: Any) -> str:
    """Return the first 60 characters of a value's JSON, for a message."""
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
