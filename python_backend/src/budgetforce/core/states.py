# SPDX-License-Identifier: Apache-2.0
"""The states of one budget-forced reply and every way from one to the next.

Laws:
1. Nothing but ``TRANSITIONS`` says what may follow what; a missing cell is an error.
2. Thinking comes before the answer and never opens again.
3. A refused end stays in THINKING: it costs one of ``num_ignore`` and the ids of the
   ignore string, and the next id may not be a terminator.
4. Every path ends in DONE, and DONE leads nowhere.
"""

from __future__ import annotations

from enum import Enum


class Phase(str, Enum):
    """What a span of the reply is."""

    THINKING = "thinking"
    ANSWER = "answer"


class State(Enum):
    """Where a reply stands."""

    IDLE = "idle"  # nothing asked of the engine yet
    THINKING = "thinking"  # a thinking round runs
    ANSWERING = "answering"  # the answer round runs
    DONE = "done"


class Cause(Enum):
    """What moves a reply on; the value is the label in the diagram."""

    OPENED = "budget > 0"
    NO_BUDGET = "budget = 0"
    END_REFUSED = "terminator, ignores and budget left"
    END_ACCEPTED = "terminator, no ignore or no budget left"
    BUDGET_SPENT = "budget spent"
    ANSWERED = "terminator, stop word or answer length"
    STOPPED = "cancelled"


TRANSITIONS: dict[State, dict[Cause, State]] = {
    State.IDLE: {
        Cause.OPENED: State.THINKING,
        Cause.NO_BUDGET: State.ANSWERING,
        Cause.STOPPED: State.DONE,
    },
    State.THINKING: {
        Cause.END_REFUSED: State.THINKING,
        Cause.END_ACCEPTED: State.ANSWERING,
        Cause.BUDGET_SPENT: State.ANSWERING,
        Cause.STOPPED: State.DONE,
    },
    State.ANSWERING: {
        Cause.ANSWERED: State.DONE,
        Cause.STOPPED: State.DONE,
    },
    State.DONE: {},
}


def mermaid() -> str:
    """The table as a Mermaid state diagram, one line a cell (DESIGN.md holds a copy)."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE.value}"]
    for state, row in TRANSITIONS.items():
        lines += [f"    {state.value} --> {target.value}: {cause.value}" for cause, target in row.items()]
    return "\n".join([*lines, f"    {State.DONE.value} --> [*]"])
