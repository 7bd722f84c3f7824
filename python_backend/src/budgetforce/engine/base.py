# SPDX-License-Identifier: Apache-2.0
"""The one thing the orchestrator knows of an engine: ids in, ids out, one call at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.errors import BudgetForceError, EngineFailed, EngineUnavailable, InvalidRequest

_PROCESS_DIED = "is not healthy"  # Triton's words when the model's process has died


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to pick the next id. None = the engine's own default; ``temperature`` 0 = greedy.

    Attributes:
        bad_words: id sequences never to sample.
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
    """One engine call.

    Attributes:
        request_id: unique among the running calls.
        input_ids: the whole context, length >= 1.
        max_new_tokens: >= 1.
        stop_ids: the call ends with the first of them, which is returned as its last id; never empty.
        banned_ids: never sampled in this call.
        ready: ids that come are handed over when this returns; until then they may come together.
    """

    request_id: str
    input_ids: tuple[int, ...]
    max_new_tokens: int
    stop_ids: frozenset[int]
    banned_ids: frozenset[int] = frozenset()
    sampling: Sampling = field(default_factory=Sampling)
    ready: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDelta:
    """Newly sampled ids of a call: all that came since the last delta was taken.

    Attributes:
        kv_reused_blocks: KV blocks that the prompt found in the cache, if the engine says so.
    """

    ids: tuple[int, ...]
    kv_reused_blocks: int | None = None


def parse_engine_error(message: str, model_name: str) -> BudgetForceError:
    """Return the error that an engine model's error message stands for; EngineFailed if nothing in it is known."""
    told = InvalidRequest.parse(message) or EngineUnavailable.parse(message)
    if told is not None:
        return told
    kind = EngineUnavailable if _PROCESS_DIED in message else EngineFailed
    first_line, _, _ = message.partition("\n")
    return kind(f"engine '{model_name}': {first_line}")


class Engine(Protocol):
    """Closing the generator of a call early stops the call in the engine.

    Attributes:
        last_ids_at: when ids last came from the engine, on ``time.monotonic()``'s clock. Errors and empty messages do not
            count: Triton sends them for an engine whose process is dead.
    """

    last_ids_at: float

    def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        """Run a call.

        Raises EngineUnavailable, EngineFailed, or InvalidRequest if the engine refuses a field.
        """
        ...

    async def is_ready(self) -> bool:
        """Whether the engine takes calls, as far as can be told without one."""
        ...

    def give_up_silent_calls(self, since: float, *, begun_only: bool) -> None:
        """End running calls that have said nothing ``since``, with EngineUnavailable; perhaps only those that had begun to."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...
