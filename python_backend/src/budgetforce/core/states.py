# SPDX-License-Identifier: Apache-2.0
"""The states of a sample and all transitions between them.

Budget forcing, in short. A reasoning model writes a thought, then an answer; an id called a
terminator ends each phase. Budget forcing controls the length of the thought from outside. To
lengthen a thought, it refuses an end: the terminator is consumed, an ignore string ("Wait") takes
its place, and the model thinks on. To shorten a thought, it cuts at the thinking budget and
injects the marker that opens the answer. The model itself is not changed.

The engine only continues a list of ids until a stop id or a maximum length. The core therefore
runs a sample as a sequence of rounds. A round is a span of a phase, ended by a terminator, the
budget or a command; a shell makes one engine call of it, or up to three. How the round ended
decides the next state:

* a terminator in THINKING: refused (another round of THINKING) or accepted (ANSWERING);
* a spent budget: ANSWERING, or first GRACE, a short round up to the end of the line or sentence;
* a terminator, a stop word or the cap in ANSWERING: DONE.

Two modes leave decisions to the model: with thinking "free", and with a preset that lets the model
open the answer, the state is UNFORCED, and the core only recognises the markers that the model
samples.

A shell reports events (``events``). The forcer derives a cause from the event and the state,
looks up the next state in ``TRANSITIONS``, and returns actions (``actions``). Causes by event:

    Started        OPENED, NO_BUDGET or NOT_FORCED
    TokensSampled  none: the state changes only when the round ends
    RoundEnded     in THINKING   END_REFUSED, END_ACCEPTED, BUDGET_SPENT, GRACE_GIVEN or LEFT_TO_MODEL
                   in GRACE      END_ACCEPTED or GRACE_OVER
                   in UNFORCED   MARKER_SEEN, ANSWER_SEEN or ANSWERED
                   in ANSWERING  ANSWERED
    StopWordFound  in THINKING   END_ACCEPTED or LEFT_TO_MODEL
                   in UNFORCED or ANSWERING  ANSWERED
    AnswerNow      in a thought  CUT_SHORT; otherwise none
    TimeIsUp       in a thought  CUT_SHORT; otherwise ANSWERED, or none if the answer has just ended
    Reencoded      none
    Cancelled      STOPPED

If the context has no room for the next round, another cause follows at once: ANSWERED, or
BUDGET_SPENT after a re-encoding.

Laws:
1. ``TRANSITIONS`` alone decides which state may follow; a missing cell raises ShellProtocolError.
2. Thinking comes before the answer and never opens again.
3. A refused end stays in THINKING; the id after it may not be a terminator.
4. Only a spent budget leads to GRACE, and no transition leads back.
5. In UNFORCED the model opens and closes its phases; the core only observes them.
6. Every path ends in DONE, and DONE has no transition.
"""

from __future__ import annotations

from enum import Enum


class Phase(str, Enum):
    """The two parts of a sample: thought and answer."""

    THINKING = "thinking"
    ANSWER = "answer"


class State(Enum):
    """The state that a sample is in."""

    IDLE = "idle"  # no request to the engine yet
    THINKING = "thinking"  # a thinking round runs
    GRACE = "grace"  # the budget is spent; a round to the end of the line or sentence runs
    UNFORCED = "unforced"  # a round runs in which the model opens and closes its phases itself
    ANSWERING = "answering"  # an answer round runs
    DONE = "done"


class Cause(Enum):
    """The cause of a transition; the value is its label in the diagram."""

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
    """Return the table as a Mermaid state diagram, a line for each cell (docs/concepts.md shows it)."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE.value}"]
    for state, row in TRANSITIONS.items():
        lines += [f"    {state.value} --> {target.value}: {cause.value}" for cause, target in row.items()]
    return "\n".join([*lines, f"    {State.DONE.value} --> [*]"])
