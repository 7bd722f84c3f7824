# SPDX-License-Identifier: Apache-2.0
"""Post to an OpenAI-compatible chat API, with retries while the server is busy or away."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.teachers.base import NO_REPLY, REJECTED
from budgetforce.curating.teachers.chat_settings import ChatApiSettings

_REJECTED = (400, 413, 422)  # HTTP status: the server rejects this question, for example as too long
_REDIRECTS, _FORBIDDEN = (301, 302, 303, 307, 308), (401, 403)
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504)  # a retry may succeed
_MAX_PAUSE_S, _MAX_WANTED_PAUSE_S = 60.0, 600.0


class Rejected(Exception):
    """The API rejects a question, or has no reply to it while it replies to others."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would send the key to whatever host it leads to, and the question to none."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(slots=True, kw_only=True)
class ChatApi:
    """A chat API; any number of threads may call it."""

    settings: ChatApiSettings
    _opener: urllib.request.OpenerDirector = field(default_factory=lambda: urllib.request.build_opener(_NoRedirect))
    _answered: float = -1.0  # time of the latest reply

    def complete(self, body: dict[str, Any], name: str) -> bytes:
        """Return the body of the reply to a question, which ``name`` names in messages.

        Raises Rejected for this question alone, and BuildFailed if the server is away or refuses us.
        """
        failure = _Failure(problem="")
        for attempt in range(self.settings.num_retries + 1):
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
        attempts = f"{self.settings.num_retries + 1} attempts" if self.settings.num_retries else "1 attempt"
        raise BuildFailed(f"{self.settings.url}: {name}: {failure.problem} ({attempts}); replies so far are kept: run it again")

    def _post(self, body: dict[str, Any]) -> bytes:
        url = f"{self.settings.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), self.settings.headers())  # noqa: S310  # http or https
        with self._opener.open(request, timeout=self.settings.timeout_s) as response:
            return bytes(response.read())

    def _http_failure(self, error: urllib.error.HTTPError) -> _Failure:
        text = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
        if error.code in _REJECTED:
            raise Rejected(REJECTED, text) from None
        if error.code not in _BUSY:
            raise BuildFailed(f"{self.settings.url}: {text}{self._advice(error)}") from None
        return _Failure(problem=text, may_be_of_question=True, wanted_pause=error.headers.get("Retry-After", ""))

    def _advice(self, error: urllib.error.HTTPError) -> str:
        if error.code in _REDIRECTS:
            return f"; the API is at {error.headers.get('Location', 'another place')}: name its base URL"
        if error.code in _FORBIDDEN and not self.settings.has_key:
            return f"; ${self.settings.key_env} holds no key"
        return ""

    def _failure(self, error: Exception) -> _Failure:
        if isinstance(error, TimeoutError):
            return _Failure(problem=f"no reply within {self.settings.timeout_s:g} s", may_be_of_question=True)
        reason = getattr(error, "reason", error)
        return _Failure(problem="connecting timed out" if isinstance(reason, TimeoutError) else f"{type(reason).__name__}: {reason}")

    def _pause(self, attempt: int, wanted: str) -> float:
        """Return the seconds before an attempt: those that the server wants, or somewhat more, or else a share of the growing pause."""
        spread = random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries, no secret
        if wanted.isdecimal():
            return min(float(wanted), _MAX_WANTED_PAUSE_S) * (0.5 + spread)
        return float(min(self.settings.pause_s * 2 ** (attempt - 1), _MAX_PAUSE_S) * spread)


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
