# SPDX-License-Identifier: Apache-2.0
"""Post to an OpenAI-compatible chat API, with retries while the server is busy or away."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.settings import check
from budgetforce.curating.teachers.base import NO_REPLY

_REJECTED = (400, 413, 422)  # HTTP status: the server rejects this question, for example as too long
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504)  # a retry may succeed
_MAX_PAUSE_S, _MAX_WANTED_PAUSE_S = 60.0, 600.0


class Rejected(Exception):
    """The API rejects a question, or has no reply to it while it replies to others."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a chat API is, and how patient a caller is with it.

    Attributes:
        url: base URL, such as ``http://127.0.0.1:8000/v1``.
        key_env: environment variable with the bearer token; a server without keys needs none.
        timeout_s: limit of one HTTP request, in seconds.
        num_retries: further attempts after the first.
        pause_s: pause before the first retry, in seconds; doubled each time, and drawn between half and all of that.
    """

    url: str
    key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 600.0
    num_retries: int = 5
    pause_s: float = 2.0

    def __post_init__(self) -> None:
        check("url", self.url, self.url.startswith(("http://", "https://")), "http://… or https://…")
        check("timeout_s", self.timeout_s, self.timeout_s > 0, "a number > 0")
        check("num_retries", self.num_retries, self.num_retries >= 0, "an integer >= 0")
        check("pause_s", self.pause_s, self.pause_s >= 0, "a number >= 0")


@dataclass(slots=True, kw_only=True)
class ChatApi:
    """A chat API; any number of threads may call it."""

    endpoint: Endpoint
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answered: float = -1.0  # time of the latest reply

    def complete(self, body: dict[str, Any], name: str) -> bytes:
        """Return the body of the reply to a question, which ``name`` names in messages.

        Raises Rejected for this question alone, and BuildFailed if the server is away or refuses us.
        """
        failure = _Failure(problem="")
        for attempt in range(self.endpoint.num_retries + 1):
            if attempt:
                time.sleep(self._pause(attempt, failure.wanted_pause))
            started = time.monotonic()
            try:
                reply = self._post(body)
            except urllib.error.HTTPError as error:
                failure = self._http_failure(error)
            except (OSError, http.client.HTTPException) as error:
                failure = self._failure(error)
            else:
                self._answered = time.monotonic()
                return reply
        if failure.may_be_of_question and self._answered > started:
            raise Rejected(NO_REPLY, failure.problem)
        attempts = f"{self.endpoint.num_retries + 1} attempts" if self.endpoint.num_retries else "1 attempt"
        raise BuildFailed(f"{self.endpoint.url}: {name}: {failure.problem} ({attempts}); replies so far are kept: run it again")

    def _post(self, body: dict[str, Any]) -> bytes:
        key = os.environ.get(self.endpoint.key_env, "")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        url = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  # http or https, see Endpoint
        with urllib.request.urlopen(request, timeout=self.endpoint.timeout_s) as response:  # noqa: S310
            return bytes(response.read())

    def _http_failure(self, error: urllib.error.HTTPError) -> _Failure:
        text = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
        if error.code in _REJECTED:
            raise Rejected("rejected", text) from None
        if error.code not in _BUSY:
            raise BuildFailed(f"{self.endpoint.url}: {text}") from None
        return _Failure(problem=text, may_be_of_question=True, wanted_pause=error.headers.get("Retry-After", ""))

    def _failure(self, error: Exception) -> _Failure:
        if isinstance(error, TimeoutError):
            return _Failure(problem=f"no reply within {self.endpoint.timeout_s:g} s", may_be_of_question=True)
        reason = getattr(error, "reason", error)
        return _Failure(problem="connecting timed out" if isinstance(reason, TimeoutError) else f"{type(reason).__name__}: {reason}")

    def _pause(self, attempt: int, wanted: str) -> float:
        """Return the seconds before an attempt: those that the server wants, or somewhat more, or else a share of the growing pause."""
        spread = random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries, no secret
        if wanted.isdecimal():
            return min(float(wanted), _MAX_WANTED_PAUSE_S) * (0.5 + spread)
        return float(min(self.endpoint.pause_s * 2 ** (attempt - 1), _MAX_PAUSE_S) * spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """A failed attempt.

    Attributes:
        may_be_of_question: whether the question may be the cause: a server that replies to others meanwhile is not away.
        wanted_pause: seconds after which the server wants the next attempt; "" if it says nothing.
    """

    problem: str
    may_be_of_question: bool = False
    wanted_pause: str = ""
