# SPDX-License-Identifier: Apache-2.0
"""One request from its first attempt to its last event: the message to send, the meaning of a response, the next attempt.

No connection, no thread, no clock: both clients drive it, and pass the time (of ``time.monotonic``). It writes the log of
the request, in which neither prompts nor the values of fields ever stand.
"""

from __future__ import annotations

import logging
import math
import numbers
import threading
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from s1_client._errors import ConnectionFailed, DeadlineExceeded, InvalidRequest, Overloaded, S1Error, ServerFailed, ServerNotReady
from s1_client._joiner import Joiner
from s1_client._options import Prompt
from s1_client._settings import Settings, retry_delay_s
from s1_client._types import Event, Partial, Reply
from s1_client._wire import id_of_attempt, infer_request, read_events
from s1_client._wire.values import check_id

_GRACE_S = 2.0  # beyond the deadline, for a server that is to end the request by itself
_RETRIED = (ConnectionFailed, ServerNotReady, Overloaded)

logger = logging.getLogger("s1_client")


def reason(error: S1Error) -> str:
    """Return an error's kind and message for the log; of a refused value only the field's name: it may be a prompt."""
    text = f"field {error.field}" if isinstance(error, InvalidRequest) else str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}"


def named(request_id: str) -> str:
    """Return the caller's name of a request, or a random one in place of "". Raises InvalidRequest for a name that cannot be sent."""
    return check_id(request_id) or uuid.uuid4().hex


def with_request(error: S1Error, request_id: str, num_attempts: int = 0, partial: Sequence[Partial] = ()) -> S1Error:
    """Return the error that ends a request, with the client's knowledge of the request added, and log it."""
    error.request_id = error.request_id or request_id
    error.num_attempts = num_attempts
    error.partial = partial
    when = f"attempt {num_attempts}" if num_attempts else "never sent"
    logger.info("request %r: failed, %s: %s", request_id, when, reason(error))
    return error


class Exchange:
    """The state of a request.

    Attributes:
        request_id: the caller's name for it.
        wire_id: the id of the latest attempt. Each attempt has its own, so that a command reaches this request alone,
            whatever name other programs give theirs, and the server does not mistake an attempt for an earlier, abandoned attempt.
        num_attempts: attempts that were sent so far.

    Raises TypeError for an unknown option and InvalidRequest for a value that cannot be sent. With ``is_streamed`` False
    the server sends the reply in a single message, when it is complete.
    """

    def __init__(
        self, prompt: Prompt, options: Mapping[str, Any], settings: Settings, request_id: str, now: float, *, is_streamed: bool = True
    ) -> None:
        self.request_id = request_id
        self.wire_id = ""
        self.joiner = Joiner()
        self.num_attempts = 0
        self._prompt = prompt
        self._options = {**settings.defaults, **options}
        self._settings = settings
        self._is_streamed = is_streamed
        self._ends_at = now + settings.deadline_s
        self._check_timeout()

    def _check_timeout(self) -> None:
        timeout_ms, limit = self._options.get("timeout_ms"), int(self._settings.deadline_s * 1e3)
        if isinstance(timeout_ms, numbers.Integral) and int(timeout_ms) > limit:
            allowed = f"at most {limit}, by the client's deadline_s of {self._settings.deadline_s:g} s"
            raise InvalidRequest("timeout_ms", repr(timeout_ms), allowed)

    def attempt(self, now: float) -> tuple[Any, float]:
        """Return the message of the next attempt, and the seconds after which gRPC is to give up.

        The message tells the server the deadline, so that the server ends the request; gRPC's own limit is for a server
        that no longer responds. Raises DeadlineExceeded if no time is left.
        """
        left_s = self._ends_at - now
        if left_s <= 0:
            raise DeadlineExceeded(f"deadline_s {self._settings.deadline_s:g} was over")
        options = self._options
        if options.get("timeout_ms") is None:
            options = {**options, "timeout_ms": math.ceil(left_s * 1e3)}
        self.wire_id = id_of_attempt(self.request_id)
        names = {"request_id": self.wire_id, "model": self._settings.model}
        message = infer_request(self._prompt, options, stream=self._is_streamed, **names)
        return message, left_s + _GRACE_S

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of this request alone."""
        return self._settings.request_headers

    def note_sent(self, now: float) -> None:
        """Count the attempt whose message was handed to gRPC."""
        self.num_attempts += 1
        left_s = self._ends_at - now
        logger.debug("request %r: attempt %d to %s, %.1f s left", self.request_id, self.num_attempts, self._settings.address, left_s)

    def take(self, message: Any) -> list[Event]:
        """Return the events in a message. Raises S1Error for an error message."""
        events = read_events(message)
        for event in events:
            self.joiner.add(event)
        return events

    @property
    def is_complete(self) -> bool:
        """Whether the result of every sample has come."""
        return self.joiner.num_results >= (self._options.get("num_samples") or 1)

    def check_complete(self) -> None:
        """Raise ServerFailed if a stream that ended had no result for a sample."""
        if not self.is_complete:
            raise ServerFailed("the stream ended without a result")
        self._note_done()

    def note_leaving(self) -> None:
        """Log that the stream is left: before its end, or with all its results."""
        if self.is_complete:
            self._note_done()
        else:
            logger.info("request %r: left before its end", self.request_id)

    def _note_done(self) -> None:
        logger.debug("request %r: done, attempt %d", self.request_id, self.num_attempts)

    def replies(self) -> tuple[Reply, ...]:
        """Return the whole replies, in the order of the samples. Raises ServerFailed if a result is missing."""
        return tuple(replace(reply, num_attempts=self.num_attempts) for reply in self.joiner.replies())

    def failure(self, error: S1Error) -> S1Error:
        """Return the error that ends the request, with the client's knowledge of the request added."""
        return with_request(error, self.request_id, self.num_attempts, self.joiner.partials())

    def retry_delay_s(self, error: S1Error, now: float, jitter: float) -> float | None:
        """Return the seconds to wait before another attempt; None if there is to be none.

        A request is retried only before its first event: a part that was shown cannot be taken back, and another reply
        would differ.
        """
        may_retry = isinstance(error, _RETRIED) and error.retryable and self.joiner.is_empty
        if not may_retry or self.num_attempts > self._settings.max_retries:
            return None
        delay_s = retry_delay_s(self.num_attempts - 1, getattr(error, "retry_after_s", None), jitter)
        if now + delay_s >= self._ends_at:
            return None
        logger.warning("request %r: attempt %d failed, retry in %.1f s: %s", self.request_id, self.num_attempts, delay_s, reason(error))
        return delay_s


class Running:
    """The running requests of a client, by the names that their callers gave them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._streams: dict[str, list[tuple[Exchange, weakref.ref[Any]]]] = {}
        self._lock = threading.RLock()  # a stream's __del__ may call remove() in the middle of any method

    def add(self, exchange: Exchange, stream: Any) -> None:
        """Remember a request that begins, and its stream, which may be dropped nevertheless."""
        with self._lock:
            self._streams.setdefault(exchange.request_id, []).append((exchange, weakref.ref(stream)))

    def remove(self, exchange: Exchange) -> None:
        """Forget a request that is over: another program's may have its name. Without effect on an unknown request."""
        with self._lock:
            others = [pair for pair in self._streams.pop(exchange.request_id, []) if pair[0] is not exchange]
            if others:
                self._streams[exchange.request_id] = others

    def stream_of(self, request_id: str) -> Any:
        """Return the stream of this client's latest running request of that name; None if it has none: the name may be that of
        another program's request. Raises InvalidRequest for a name that no request can have.
        """
        check_id(request_id)
        with self._lock:
            own = self._streams.get(request_id)
            return own[-1][1]() if own else None
