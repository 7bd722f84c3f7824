# SPDX-License-Identifier: Apache-2.0
"""The states of one reply and every way from one to the next.

Laws:
1. Nothing but ``TRANSITIONS`` says what may follow what; a missing cell is an error.
2. Thinking comes before the answer and never opens again.
3. A refused end stays in THINKING; the id after it may not be a terminator.
4. Only a budget that is spent leads to GRACE, and nothing leads back.
5. UNFORCED is the model's own doing: we only watch which phase it opens.
6. Every path ends in DONE, and DONE leads nowhere.
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
    GRACE = "grace"  # the budget is spent; the line or sentence is being finished
    UNFORCED = "unforced"  # the model opens and closes its phases itself
    ANSWERING = "answering"  # the answer round runs
    DONE = "done"


class Cause(Enum):
    """What moves a reply on; the value is the label in the diagram."""

    OPENED = "budget > 0"
    NO_BUDGET = "budget = 0, or thinking off"
    NOT_FORCED = "thinking free"
    END_REFUSED = "terminator, refused"
    END_ACCEPTED = "terminator, accepted"
    BUDGET_SPENT = "budget spent"
    GRACE_GIVEN = "budget spent in mid-sentence, grace given"
    GRACE_OVER = "line or sentence end, or grace spent"
    CUT_SHORT = "answer now, or time up"
    LEFT_TO_MODEL = "end of thinking, no marker of ours"
    MARKER_SEEN = "terminator that begins a marker"
    ANSWER_SEEN = "answer marker complete"
    ANSWERED = "terminator, stop word, length or time up"
    STOPPED = "cancelled"


TRANSITIONS: dict[State, dict[Cause, State]] = {
    State.IDLE: {
        Cause.OPENED: State.THINKING,
        Cause.NO_BUDGET: State.ANSWERING,
        Cause.NOT_FORCED: State.UNFORCED,
        Cause.STOPPED: State.DONE,
    },
    State.THINKING: {
        Cause.END_REFUSED: State.THINKING,
        Cause.END_ACCEPTED: State.ANSWERING,
        Cause.BUDGET_SPENT: State.ANSWERING,
        Cause.GRACE_GIVEN: State.GRACE,
        Cause.CUT_SHORT: State.ANSWERING,
        Cause.LEFT_TO_MODEL: State.UNFORCED,
        Cause.STOPPED: State.DONE,
    },
    State.GRACE: {
        Cause.END_ACCEPTED: State.ANSWERING,
        Cause.GRACE_OVER: State.ANSWERING,
        Cause.CUT_SHORT: State.ANSWERING,
        Cause.STOPPED: State.DONE,
    },
    State.UNFORCED: {
        Cause.MARKER_SEEN: State.UNFORCED,
        Cause.ANSWER_SEEN: State.ANSWERING,
        Cause.CUT_SHORT: State.ANSWERING,
        Cause.ANSWERED: State.DONE,
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
