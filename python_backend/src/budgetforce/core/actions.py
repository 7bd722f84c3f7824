# SPDX-License-Identifier: Apache-2.0
"""Actions: the steps that a shell carries out for the core, in order.

``Generate``, ``Reencode`` and ``Finish`` only come last in a list. If one of them comes while a
round runs (after ``AnswerNow``, for example), that round is over: the shell discards whatever the
engine still sends for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from budgetforce.core.ledger import Ledger
from budgetforce.core.states import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Let the engine continue ``context_ids``; report its ids with ``TokensSampled``, then ``RoundEnded``.

    The core may answer ``RoundEnded`` with the same round again (``may_redo`` false): its only id, a stop id, was thrown away.

    Attributes:
        phase: the phase that the sampled ids belong to.
        context_ids: the whole prompt of the round.
        max_new_tokens: maximum number of ids to sample, the stop id included; >= 1.
        stop_ids: the round ends with the first of them, which is returned; never empty.
        min_tokens: number of ids at the round's start that must not be stop ids (1 after a refused
            end: the authors' evaluation has ``min_tokens=1`` there).
        may_redo: the engine may be called without a ban on the stop ids, although ``min_tokens`` is 1.
    """

    phase: Phase
    context_ids: tuple[int, ...]
    max_new_tokens: int
    stop_ids: frozenset[int]
    min_tokens: int = 0
    may_redo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reencode:
    """Decode the context from index ``start`` on to text and encode it again; report the ids with ``Reencoded``."""

    context_ids: tuple[int, ...]
    start: int


@dataclass(slots=True, kw_only=True)  # not frozen, because it is made for every id: freezing doubles the time to make it
class Emit:
    """Send ``ids`` to the caller. The prompt plus the ids of all Emits equals the context, id for id
    (except with a preset that re-encodes).

    Attributes:
        phase: the phase that the ids belong to.
        ids: in order; never a consumed terminator, never half a character at a cut.
        injected: the server put the ids in; they were not sampled.
        hidden: the ids are a marker that opens ``phase``; readers of the text do not see it.
    """

    phase: Phase
    ids: tuple[int, ...]
    injected: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The sample is over; no action follows."""

    ledger: Ledger


Action = Generate | Reencode | Emit | Finish


def merge_emits(actions: Iterable[Action]) -> list[Action]:
    """Return the actions with adjacent Emits of equal phase and flags merged."""
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
