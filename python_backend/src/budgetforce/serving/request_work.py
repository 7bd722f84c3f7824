# SPDX-License-Identifier: Apache-2.0
"""Where the work on a request is done whose time grows with its size: checks, the chat's text and its tokens. Independent of Triton."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from budgetforce.serving.admission import Admission
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.room import Limits

T = TypeVar("T")
MAX_BYTES_HERE = 4096  # of a request's texts: a question, about a millisecond
_CALLS_A_WORKER = 4  # that are handed over at a time: a worker must not idle while the event loop is busy


class RequestWork:
    """Works on other threads, where tenants take turns; but on a small request on the event loop's thread.

    Handing a question's work over and back takes longer than the work. Of the small requests of one pass of the event loop only the first
    is worked on there: a burst of them must not hold up the tokens of replies that run.
    """

    def __init__(self, workers: Executor, num_workers: int = 1) -> None:
        """``num_workers``: how many threads ``workers`` has."""
        self._workers = workers
        self._turns = Admission(Limits(max_replies=_CALLS_A_WORKER * num_workers, max_kv_tokens=0, max_waiting=sys.maxsize))
        self._done_here: IncomingRequest | None = None  # in this pass of the event loop

    async def do(self, incoming: IncomingRequest, function: Callable[..., T], *values: Any) -> T:
        """Call a function of a request."""
        if self._is_done_here(incoming):
            return function(*values)
        async with self._turns.admit(num_replies=1, num_tokens=1, tenant=incoming.tenant):
            return await asyncio.get_running_loop().run_in_executor(self._workers, function, *values)

    def close(self) -> None:
        """Release the threads; no work may be open."""
        self._workers.shutdown()

    def _is_done_here(self, incoming: IncomingRequest) -> bool:
        if self._done_here is None and incoming.num_text_bytes <= MAX_BYTES_HERE:
            self._done_here = incoming
            asyncio.get_running_loop().call_soon(self._end_pass)
        return self._done_here is incoming

    def _end_pass(self) -> None:
        self._done_here = None
