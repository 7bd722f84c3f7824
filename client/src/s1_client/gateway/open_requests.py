# SPDX-License-Identifier: Apache-2.0
"""The open requests of the gateway: how many each caller has, and whose each id is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from s1_client._aio_stream import AsyncStream
from s1_client.gateway.errors import Refusal, too_many


class OpenRequests:
    """Requests that have arrived and not ended. It belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        """``limit``: open requests of one caller."""
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._streams: dict[tuple[str, str], AsyncStream] = {}

    def __len__(self) -> int:
        return self._counts.total()

    @contextmanager
    def counted(self, owner: str) -> Iterator[None]:
        """Count a request of ``owner``. Raises Refusal (429) if the owner has too many."""
        if self._counts[owner] >= self._limit:
            raise too_many(f"this caller has {self._limit} open requests, allowed: {self._limit}")
        self._counts[owner] += 1
        try:
            yield
        finally:
            self._counts[owner] -= 1

    @contextmanager
    def listed(self, owner: str, request_id: str, stream: AsyncStream) -> Iterator[None]:
        """Let ``find`` find the stream by its owner and id."""
        self._streams[owner, request_id] = stream
        try:
            yield
        finally:
            del self._streams[owner, request_id]

    def find(self, owner: str, request_id: str) -> AsyncStream:
        """Return the open request of that id. Raises Refusal (404) if there is none, or if it is another owner's."""
        stream = self._streams.get((owner, request_id))
        if stream is None:
            raise Refusal(
                status=404, message=f"id: no open request '{request_id[:80]}' of this caller", param="id", code="request_not_found"
            )
        return stream
