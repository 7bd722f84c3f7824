# SPDX-License-Identifier: Apache-2.0
"""The interface of an engine: an ``EngineCall`` of ids in, a stream of ids out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable, InvalidRequest

_PROCESS_DIED = "is not healthy"  # in Triton's error message when the model's process has died


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling parameters. None = the engine's own default; ``temperature`` 0 = greedy.

    Attributes:
        bad_words: id sequences that are never sampled.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    bad_words: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCall:
    """A request to the engine model.

    Attributes:
        request_id: unique among the running calls.
        input_ids: the whole context; at least one id.
        max_new_tokens: maximum number of ids to sample, >= 1.
        stop_ids: the call ends with the first of them, which is returned as its last id; never empty.
        banned_ids: ids that are never sampled in this call.
        min_tokens: number of ids at the call's start that are no stop ids; 0 unless the engine ``keeps_min_tokens``.
        ready: called before each delta but the first is delivered; returns a future to wait for, or None. Ids that arrive meanwhile
            are delivered together, and the end of the call ends the wait. A future that is no longer waited for is done.
        traceparent: header that ties the engine's spans to the caller's trace (W3C Trace Context); "" = the call is not traced.
    """

    request_id: str
    input_ids: tuple[int, ...]
    max_new_tokens: int
    stop_ids: frozenset[int]
    banned_ids: frozenset[int] = frozenset()
    min_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    ready: Callable[[], asyncio.Future[None] | None] | None = None
    traceparent: str = ""


@dataclass(slots=True, kw_only=True)  # not frozen, which would double its cost: each id comes in one
class EngineDelta:
    """Newly sampled ids of a call: all ids since the previous delta.

    Attributes:
        kv_reused_blocks: KV blocks of the prompt found in the cache; None if the engine does not report it.
    """

    ids: tuple[int, ...]
    kv_reused_blocks: int | None = None


Take = Callable[[EngineDelta], bool]  # takes ids of a call, returns whether it wants more


def parse_engine_error(message: str, model_name: str) -> BudgetForceError:
    """Return the error that an engine model's error message stands for; EngineFailed for an unknown message."""
    known = InvalidRequest.parse(message) or EngineUnavailable.parse(message)
    if known is not None:
        return known
    kind = EngineUnavailable if _PROCESS_DIED in message else EngineFailed
    first_line, _, _ = message.partition("\n")
    return kind(f"engine '{model_name}': {first_line}")


class Engine(Protocol):
    """Runs engine calls.

    Ids are delivered by a function and not by an asynchronous generator, which would cost each id a future and a task's step.

    Attributes:
        last_ids_at: when ids last arrived from the engine, on ``time.monotonic()``'s clock. Errors and empty messages do
            not count: Triton sends them also for an engine whose process is dead.
        keeps_min_tokens: whether the engine keeps to ``EngineCall.min_tokens``; if not, it can ban stop ids only for a whole call.
    """

    last_ids_at: float
    keeps_min_tokens: bool

    async def run(self, call: EngineCall, take: Take) -> None:
        """Run a call to its end. ``take`` gets its ids as they arrive, on the event loop's thread, and not after this has returned.

        If it wants no more ids, raises an error, or if this is cancelled, the call is stopped.
        Raises EngineUnavailable, EngineFailed, InvalidRequest if the engine refuses a field, or the error of ``take``.
        """
        ...

    async def is_ready(self) -> bool:
        """Return whether the engine accepts calls, as far as can be known without a call."""
        ...

    def give_up_silent_calls(self, since: float, *, begun_only: bool) -> None:
        """End calls without ids ``since`` that time with EngineUnavailable; if ``begun_only``, only calls that have produced ids."""
        ...

    async def close(self) -> None:
        """Release the engine's connection and memory."""
        ...
