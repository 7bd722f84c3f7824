# SPDX-License-Identifier: Apache-2.0
"""One request from its first attempt to its last event: what to send, what a message means, whether to try again.

No connection, no thread, no clock: both clients drive it, and tell it the time (of ``time.monotonic``).
"""

from __future__ import annotations

import math
import numbers
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from s1_client import _wire
from s1_client._errors import ConnectionFailed, DeadlineExceeded, InvalidRequest, Overloaded, S1Error, ServerNotReady
from s1_client._joiner import Joiner
from s1_client._options import Prompt
from s1_client._settings import Settings, retry_delay_s
from s1_client._types import Event
from s1_client._wire.values import check_text

PATIENCE_S = 2.0  # for a server that is to end a request by itself, at its deadline or because it was told to
CANCELS_SAFELY = (2, 57)  # Triton 25.04: before, a stream that is cancelled while it flows may crash the server
_RETRIED = (ConnectionFailed, ServerNotReady, Overloaded)


class Exchange:
    """The state of one request.

    Attributes:
        request_id: what the caller calls it.
        wire_id: the id that the latest attempt was sent with: another one each time, so that a command reaches this request
            alone, whatever name other programs give theirs, and an attempt is not taken for one that the server has not
            yet noticed to be nobody's.

    Raises TypeError for an unknown option and InvalidRequest for a value that cannot be sent. With ``is_streamed`` False
    there will be one event, the last.
    """

    def __init__(
        self, prompt: Prompt, options: Mapping[str, Any], settings: Settings, request_id: str, now: float, *, is_streamed: bool = True
    ) -> None:
        self.request_id = check_text("request id", request_id) or uuid.uuid4().hex
        self.wire_id = ""
        self.joiner = Joiner()
        self._prompt = prompt
        self._options = {**settings.defaults, **options}
        self._settings = settings
        self._is_streamed = is_streamed
        self._ends_at = now + settings.deadline_s
        self._num_attempts = 0
        self._check_timeout()

    def _check_timeout(self) -> None:
        asked, limit = self._options.get("timeout_ms"), int(self._settings.deadline_s * 1e3)
        if isinstance(asked, numbers.Integral) and int(asked) > limit:
            raise InvalidRequest(
                "timeout_ms", repr(asked), f"at most {limit}, by the client's deadline_s of {self._settings.deadline_s:g} s"
            )

    def attempt(self, now: float) -> tuple[Any, float]:
        """The message to send, and when gRPC is to give up, in seconds. The server is told of the deadline, so that
        it ends the request by itself; gRPC's own is for a server that does not answer any more.
        """
        left_s = self._ends_at - now
        if left_s <= 0:
            raise self.failure(self._no_more_time())
        self._num_attempts += 1
        options = self._options
        if options.get("timeout_ms") is None:
            options = {**options, "timeout_ms": math.ceil(left_s * 1e3)}
        self.wire_id = _wire.id_of_attempt(self.request_id)
        named = {"request_id": self.wire_id, "model": self._settings.model}
        return _wire.infer_request(self._prompt, options, stream=self._is_streamed, **named), left_s + PATIENCE_S

    def take(self, message: Any) -> Event | None:
        """The event of a message, if it has one. Raises S1Error if it is an error."""
        event = _wire.read_response(message)
        if event is not None:
            self.joiner.add(event)
        return event

    def check_complete(self) -> None:
        """Raise ServerFailed if a stream that ended had no result."""
        self.joiner.replies()

    def failure(self, error: S1Error) -> S1Error:
        """The error with what the client knows of the request."""
        error.request_id = error.request_id or self.request_id
        error.partial = self.joiner.partials()
        return error

    def retry_delay_s(self, error: S1Error, now: float, jitter: float) -> float | None:
        """How long to wait before another attempt; None if there is to be none.

        Only while nothing has come: what was seen of a reply cannot be taken back, and another one would differ.
        """
        may_retry = isinstance(error, _RETRIED) and error.retryable and self.joiner.is_empty
        if not may_retry or self._num_attempts > self._settings.max_retries:
            return None
        delay_s = retry_delay_s(self._num_attempts - 1, getattr(error, "retry_after_s", None), jitter)
        return delay_s if now + delay_s < self._ends_at else None

    def _no_more_time(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"deadline_s {self._settings.deadline_s:g} was over")


class Running:
    """The requests of a client that run, by the names that callers gave them. Any thread may call it."""

    def __init__(self) -> None:
        self._exchanges: dict[str, list[Exchange]] = {}
        self._lock = threading.RLock()  # a stream's __del__ may take an ended one out in the middle of any method

    def add(self, exchange: Exchange) -> None:
        """Remember a request that begins."""
        with self._lock:
            self._exchanges.setdefault(exchange.request_id, []).append(exchange)

    def remove(self, exchange: Exchange) -> None:
        """Forget a request that is over: its name may be that of another program's. Without effect on one that is not there."""
        with self._lock:
            left = [one for one in self._exchanges.pop(exchange.request_id, []) if one is not exchange]
            if left:
                self._exchanges[exchange.request_id] = left

    def id_of(self, request_id: str) -> str:
        """Return the id that reaches this client's own latest running request of that name: another program's may have the same one."""
        with self._lock:
            own = self._exchanges.get(request_id)
            return own[-1].wire_id if own else request_id


def version_of(told: str) -> tuple[int, ...]:
    """(2, 51) of Triton's "2.51.0"; of what is no version: the newest, whose streams are simply cancelled."""
    parts = told.split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else CANCELS_SAFELY
