# SPDX-License-Identifier: Apache-2.0
"""What the core tells a shell to do, in order. Generate, Reencode and Finish come last in a list.

One of them that comes while a round runs (``AnswerNow`` brings it) ends that round: what the
engine still sends for it is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from budgetforce.core.ledger import Ledger
from budgetforce.core.states import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Ask the engine to continue ``context_ids``; tell the core what comes, then that the round ended.

    Attributes:
        phase: what the sampled ids will be.
        context_ids: the whole prompt of the round.
        max_new_tokens: how many ids to sample at most, the stop id included; >= 1.
        stop_ids: the round ends with the first of them, which is returned; never empty.
        min_tokens: the first so many ids may not be stop ids (1 behind a refused end: the
            authors' evaluation has ``min_tokens=1`` there).
    """

    phase: Phase
    context_ids: tuple[int, ...]
    max_new_tokens: int
    stop_ids: frozenset[int]
    min_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reencode:
    """Turn the context from index ``start`` on into text and back into ids; answer with ``Reencoded``."""

    context_ids: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Hand ``ids`` on. The prompt followed by the ids of every Emit is the context, id for id
    (but for a preset that re-encodes).

    Attributes:
        phase: the phase the ids belong to.
        ids: in order; never a consumed terminator, never half a character at a cut.
        injected: ours, not sampled.
        hidden: a marker that the reader of the text should not see: it opens ``phase``.
    """

    phase: Phase
    ids: tuple[int, ...]
    injected: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The reply is over; nothing follows."""

    ledger: Ledger


Action = Generate | Reencode | Emit | Finish


def merge_emits(actions: Iterable[Action]) -> list[Action]:
    """Neighbours of one kind as one Emit."""
    result: list[Action] = []
    for kind, group in groupby(actions, _kind):
        if kind is None:
            result += group
        else:
            phase, injected, hidden = kind
            ids = tuple(token_id for action in group if isinstance(action, Emit) for token_id in action.ids)
            result.append(Emit(phase=phase, ids=ids, injected=injected, hidden=hidden))
    return result


def _kind(action: Action) -> tuple[Phase, bool, bool] | None:
    return (action.phase, action.injected, action.hidden) if isinstance(action, Emit) else None
