# SPDX-License-Identifier: Apache-2.0
"""What the core tells a shell to do, in order."""

from __future__ import annotations

from dataclasses import dataclass

from budgetforce.core.ledger import Ledger
from budgetforce.core.states import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Ask the engine to continue ``context_ids``; tell the core what comes, then that the round ended.

    Attributes:
        phase: what the sampled ids will be.
        context_ids: the whole prompt of the round.
        max_new_tokens: how many ids to sample at most, terminator included; >= 1.
        forbid_terminator_first: the first sampled id may not be a terminator (s1's rule for
            the continuation after a refused end: ``min_tokens=1`` in the authors' evaluation).
    """

    phase: Phase
    context_ids: tuple[int, ...]
    max_new_tokens: int
    forbid_terminator_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Hand ``ids`` on. The prompt followed by the ids of every Emit is the context, id for id.

    Attributes:
        phase: the phase the ids belong to.
        ids: in order; never a consumed terminator.
        injected: ours, not sampled.
        hidden: a marker that the reader of the text should not see.
    """

    phase: Phase
    ids: tuple[int, ...]
    injected: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The reply is over; nothing follows."""

    ledger: Ledger


Action = Generate | Emit | Finish
