# SPDX-License-Identifier: Apache-2.0
"""Events: everything that a shell reports to the core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Started:
    """The sample begins; always the first event."""


@dataclass(slots=True)  # not frozen, because it is made for every id: freezing doubles the time to make it
class TokensSampled:
    """The engine sampled ``ids`` (at least one) in the running round. How they are grouped into events has no effect."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """The engine has nothing more to send for the running round."""


@dataclass(frozen=True, slots=True)
class StopWordFound:
    """The text of the running round contains a stop word: the caller's in the answer, an audit preset's in the
    thought. The shell ends the round.
    """


@dataclass(frozen=True, slots=True)
class Reencoded:
    """Reply to ``Reencode``: ``ids`` replace the context from its ``start`` on."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnswerNow:
    """The caller wants the answer: thinking closes at once. Without effect if thinking is already closed."""


@dataclass(frozen=True, slots=True)
class TimeIsUp:
    """The running phase has used up its time: thinking closes at once, an answer ends as it is."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller cancelled the request."""


Event = Started | TokensSampled | RoundEnded | StopWordFound | Reencoded | AnswerNow | TimeIsUp | Cancelled
