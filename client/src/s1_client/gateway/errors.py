# SPDX-License-Identifier: Apache-2.0
"""Errors in OpenAI's shape: the status, the body and the headers of each, and the refusals that stand for the server's errors.

    {"error": {"message": "…", "type": "invalid_request_error", "param": "messages[0].role", "code": "invalid_value"}}

``code`` is a string or null. ``x-should-retry`` is openai-python's header: without it that client sends a request again after any
status of 408, 409, 429 and 5xx, and a thought of minutes would be thought three times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s1_client._errors import (
    AccessDenied,
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    S1Error,
    ServerNotReady,
)

RETRY_AFTER_S = 5  # for a server that is away and names no time: a restarted engine needs longer, a restarted connection less
NO_RETRY = {"x-should-retry": "false"}
CANCELLED_STATUS = 409
TOO_LONG = "context_length_exceeded"  # OpenAI's code; programs that shorten a history and try again wait for it
_PROMPTS = ("text_input", "messages")
_SIZE = re.compile(r'"?((?:at least )?\d+ (?:tokens|bytes))"?')  # the server's words for the size of a prompt
_NAMES = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")  # names of request fields; a name without "_" may be a word of the sentence
GONE_STATUS = 499  # nginx's number for a client that closed its connection; it stands in metrics alone


@dataclass(kw_only=True, eq=False)  # not frozen: contextlib sets the traceback of an exception that passes
class Refusal(Exception):
    """A request that ends with an error.

    Attributes:
        status: HTTP status.
        message: a sentence for the caller.
        kind: OpenAI's ``type``.
        param: the path of the field as the caller spelt it; None if the error is about no field.
        code: a word for programs; None if there is none.
        headers: further headers of the response.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """Return the error as OpenAI's clients read it."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def bad_value(path: str, got: str, allowed: str, code: str = "invalid_value") -> Refusal:
    """Return the refusal of a value in a request's body."""
    return Refusal(status=400, message=f"{path}: got {got}, allowed: {allowed}", param=path, code=code)


def contradiction(first: str, second: str, why: str) -> Refusal:
    """Return the refusal of two fields that cannot both be obeyed. ``param`` names both."""
    return Refusal(status=400, message=f"{first} and {second} contradict each other: {why}", param=f"{first}, {second}", code="conflict")


def too_many(message: str) -> Refusal:
    """Return the refusal of a request of a caller that has too many open requests."""
    return Refusal(status=429, message=message, kind="rate_limit_error", code="too_many_requests", headers={"retry-after": "1"})


def refusal_of(error: S1Error, spelled: Mapping[str, str]) -> Refusal:
    """Return the refusal that stands for an error of the server or of the connection to it.

    ``spelled``: request field -> its path in the caller's body.
    """
    if isinstance(error, InvalidRequest):
        return _invalid(error, spelled)
    for kinds, status, kind, code in _STATUSES:
        if isinstance(error, kinds):
            text = _sentence(error)
            return Refusal(status=status, message=text, kind=kind, code=code, headers=_headers(error, status))
    raise AssertionError(f"an error without a status: {error!r}")


_STATUSES: tuple[tuple[type[S1Error], int, str, str], ...] = (  # the first class that matches counts
    (AccessDenied, 500, "server_error", "server_access_denied"),
    (ConnectionFailed, 503, "server_error", "server_unreachable"),
    (ServerNotReady, 503, "server_error", "engine_unavailable"),
    (Overloaded, 429, "rate_limit_error", "overloaded"),
    (DeadlineExceeded, 408, "timeout", "deadline"),
    (Cancelled, CANCELLED_STATUS, "invalid_request_error", "cancelled"),
    (EngineFailed, 500, "server_error", "engine_failed"),
    (S1Error, 500, "server_error", "internal"),
)


def _invalid(error: InvalidRequest, spelled: Mapping[str, str]) -> Refusal:
    path, allowed = spelled.get(error.field, error.field), _in_the_callers_names(error.allowed, spelled)
    if error.field in _PROMPTS and (size := _SIZE.fullmatch(error.value)):
        return _too_long(path, size[1], allowed)
    if path == error.field:
        return bad_value(path, error.value, allowed)
    message = f"{path}: got {error.value}, allowed: {allowed} (field {error.field} of the server)"
    return Refusal(status=400, message=message, param=path, code="invalid_value")


def _too_long(path: str, size: str, allowed: str) -> Refusal:
    """Return the refusal of a prompt that the context cannot hold.

    LangChain, litellm and programs for Anthropic's API look for the first words of the message, others for the code.
    """
    return Refusal(status=400, message=f"prompt is too long: {path}: got {size}, allowed: {allowed}", param=path, code=TOO_LONG)


def _in_the_callers_names(sentence: str, spelled: Mapping[str, str]) -> str:
    """Return a sentence of the server with the caller's names of request fields: ``max_tokens`` is the whole reply's there, not here."""
    return _NAMES.sub(lambda name: spelled.get(name[0], name[0]), sentence)


def _headers(error: S1Error, status: int) -> dict[str, str]:
    if status == 429:
        return {"retry-after": str(math.ceil(getattr(error, "retry_after_s", None) or 1))}
    return {"retry-after": str(RETRY_AFTER_S)} if status == 503 else NO_RETRY


def _sentence(error: S1Error) -> str:
    """Return the first line of an error's message: a server may append details of its own."""
    return str(error).partition("\n")[0]
