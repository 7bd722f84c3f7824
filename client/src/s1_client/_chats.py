# SPDX-License-Identifier: Apache-2.0
"""Chats that people write: in a file of questions, or behind ``s1 ask --messages``."""

from __future__ import annotations

import json
from typing import Any


def chat_of(messages: Any) -> list[dict[str, str]]:
    """Return a chat as it was given. Raises ValueError if it is none; which roles there are, and in what order, the server says."""
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise ValueError(f'messages: got {short(messages)}, allowed: a list of {{"role": "…", "content": "…"}}')
    return messages


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.keys() == {"role", "content"} and all(isinstance(text, str) for text in message.values())


def short(data: Any) -> str:
    """Return JSON of a value for a message, 60 characters of it at most."""
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
