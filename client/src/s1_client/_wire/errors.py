# SPDX-License-Identifier: Apache-2.0
"""Error messages of the server to errors, and back for the FakeServer.

CODE: text                                              all but INVALID_ARGUMENT: then a line of JSON (retryable, request_id, so_far)
OVERLOADED: text; retry after 1.5 s
INVALID_ARGUMENT: field 'name': got value, allowed: phrase
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from s1_client._errors import ERROR_KINDS, InvalidRequest, Overloaded, S1Error, ServerFailed, ServerNotReady

_INVALID = re.compile(r"INVALID_ARGUMENT: field '(.+?)': got (.*), allowed: (.*)", re.S)
_RETRY_AFTER = re.compile(r".*; retry after (\d+(?:\.\d+)?) s", re.S)
_NOT_SERVING = ("unknown model", "is not ready", "is stopping", "is not healthy")  # Triton's own words; the last: its process is dead
_ERRORS: dict[str, Any] = {code: kind.error for kind in ERROR_KINDS for code in kind.codes if kind.error is not InvalidRequest}
_CODES = {kind.error: kind.codes[0] for kind in ERROR_KINDS if kind.codes}


def from_message(message: str) -> S1Error:
    """Return the error that a server's error message stands for."""
    invalid = _INVALID.search(message)
    if invalid is not None:
        return InvalidRequest(*invalid.groups())
    text, _, last_line = message.rpartition("\n")
    details = _object(last_line) if text else {}
    error = _of_code(text if details else message)
    error.retryable = details.get("retryable", error.retryable)
    error.request_id, error.so_far = details.get("request_id"), details.get("so_far", ())
    return error


def to_message(error: S1Error, request_id: str, so_far: Sequence[Any] = ()) -> str:
    """Return the message in which the server reports an error."""
    code = _CODES.get(type(error), _CODES[ServerFailed])
    if isinstance(error, InvalidRequest):
        return f"{code}: field '{error.field}': got {error.value}, allowed: {error.allowed}"
    text = f"{code}: {error}"
    if isinstance(error, Overloaded) and error.retry_after_s is not None:
        text += f"; retry after {error.retry_after_s} s"
    details = {"retryable": error.retryable, "request_id": request_id, "so_far": list(so_far)}
    return f"{text}\n{json.dumps(details)}"


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; {} for any other text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _of_code(message: str) -> S1Error:
    code, _, text = message.partition(": ")
    if code == "INTERNAL" or code not in _ERRORS:
        is_unloaded = any(words in message for words in _NOT_SERVING)
        return ServerNotReady(f"the server is stopping, or does not serve the model: {message}") if is_unloaded else ServerFailed(message)
    return with_retry_after(_ERRORS[code](text))


def with_retry_after(error: S1Error) -> S1Error:
    """Return the error; an Overloaded gets the ``retry_after_s`` that its text names."""
    seconds = _RETRY_AFTER.fullmatch(str(error))
    if isinstance(error, Overloaded) and seconds is not None:
        error.retry_after_s = float(seconds.group(1))
    return error
