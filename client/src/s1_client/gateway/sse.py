# SPDX-License-Identifier: Apache-2.0
"""The text of server-sent events: frames of JSON, the comment that keeps a silent stream open, and the end.

Frames of a stream are rendered from constant parts; only texts and numbers are new in each. A frame through pydantic would cost ten
times as much.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
quoted: Callable[[str], str] = encode_basestring  # a text as JSON; characters beyond ASCII stay as they are


def compact(value: Any) -> str:
    """Return a value as JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def frame(text: str, event: str = "") -> bytes:
    """Return an event whose data is the JSON ``text``. ``event``: its name, for APIs that name their events."""
    return f"event: {event}\ndata: {text}\n\n".encode() if event else f"data: {text}\n\n".encode()
